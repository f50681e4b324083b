"""The house rules: who imports whom, what start-up costs, what is never written."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from gan.settings import ROOT

SOURCES = sorted(path for folder in ("gan", "training") for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_gan_never_imports_training_and_nothing_unpickles(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    if path.is_relative_to(ROOT / "gan"):
        assert "training" not in roots
    assert not roots & {"pickle", "dill", "joblib", "marshal"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        is_load = isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "torch.hub.load")
        if is_load:
            assert any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in node.keywords)


def test_the_app_works_with_training_deleted(tmp_path: Path) -> None:
    for name in ("app.py", "gan", "checkpoints"):
        (tmp_path / name).symlink_to(ROOT / name)
    code = (
        "import importlib.util, app; assert importlib.util.find_spec('training') is None; app.build();"
        "import gan; print(len(gan.load('mnist-cgan').sample(labels=[1, 2])))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "2"
