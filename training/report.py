"""The five reports compared, as Markdown: what the Results tab shows, for reading elsewhere."""

from __future__ import annotations

from pathlib import Path

from gan.files import atomic
from gan.results import markdown, results


def report(out: Path | None = None, language: str = "en") -> str:
    """The comparison of all checkpoints at hand, written to ``out`` where one is given.

    Links and pictures are relative to the file's folder, or without one to the working directory.

    Args:
        language: "en" or "id".
    """
    text = markdown(results(), (out.parent if out else Path()).resolve(), language)
    if out:
        with atomic(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return text
