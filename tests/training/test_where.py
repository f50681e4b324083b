"""Where a run may train, who is offered that, and what becomes of runs on a disk that does not last."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from gan import settings
from gan.errors import HubError
from tests.training.test_publish import SPACE, Asker
from training import jobs, progress, records, tab, watch, where

TOKEN = "hf_whereSecretOfTheTests"
VISITOR = gr.OAuthToken(TOKEN, "contribute-repos jobs", None)


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody has said anything, and this machine has no token."""
    for name in (*SPACE, "CANTING_PUBLISH", "CANTING_RUNS", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))


def offered(token: gr.OAuthToken | None, host: str = "127.0.0.1") -> tuple[bool, bool]:
    """Whether the choice of a place, and the tick box, are seen."""
    return tuple(one["visible"] for one in where.present(token, "en", Asker(host, {})))


def test_at_home_jobs_are_offered_to_whoever_has_a_token_and_nothing_else_changes(monkeypatch) -> None:
    assert offered(None) == (False, False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert offered(None) == (True, False)
    assert offered(None, "192.168.1.20") == (False, False)
    monkeypatch.setenv("CANTING_PUBLISH", "0")
    assert offered(None) == (False, False)
    assert settings.runs_folder() == settings.ROOT / "runs" and "disk" not in tab.terms()


def test_on_a_space_they_are_offered_to_whoever_has_signed_in(monkeypatch, tmp_path: Path) -> None:
    for name, value in (SPACE | {"HF_TOKEN": "hf_theSpaces"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(settings, "STORAGE", tmp_path / "none")
    assert offered(VISITOR, "10.0.0.1") == (False, False)
    monkeypatch.setenv("CANTING_PUBLISH", "1")
    assert offered(None, "10.0.0.1") == (False, False)
    assert offered(VISITOR, "10.0.0.1") == (True, True)
    assert "This Space's disk is emptied" in tab.terms() and "Disk Space ini" in tab.terms("id")
    place = where.chosen("t4-small", " 90m ", False, VISITOR, Asker("10.0.0.1", {}))
    assert (place.flavor, place.timeout, place.token) == ("t4-small", "90m", TOKEN)
    with pytest.raises(HubError, match="sign in"):
        where.chosen("", "2h", True, None, Asker("10.0.0.1", {})).record()

    # Attached storage is where runs are kept, and then no snapshot need be pushed.
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(settings, "STORAGE", tmp_path / "data")
    assert settings.runs_folder() == tmp_path / "data" / "runs" and "disk" not in tab.terms()
    assert offered(VISITOR, "10.0.0.1") == (True, False)
    monkeypatch.setenv("CANTING_RUNS", str(tmp_path / "elsewhere"))
    assert settings.runs_folder() == tmp_path / "elsewhere"


def test_who_may_not_publish_may_not_use_this_machines_token(monkeypatch, studio: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for flavor, push in (("t4-small", False), ("", True)):
        with pytest.raises(HubError, match="turned off here"):
            where.chosen(flavor, "2h", push, None, Asker("192.168.1.20", {}))
    assert where.chosen("", "", False, None, Asker("192.168.1.20", {})).record() == {}
    # Nor by way of the endpoint that programs use.
    with pytest.raises(jobs.RunError, match="no setting called flavor"):
        tab.start_run("tiny", [], {"flavor": "t4-small"}, "ayu", Asker("192.168.1.20", {}))


def test_nor_resume_what_was_begun_while_they_might(
    monkeypatch, studio: Path, pictures: list[Path], idle, end_jobs
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    job = jobs.start("tiny", pictures, owner="ayu")
    with records.changing(job) as record:
        record |= {"push": {}, "ended": {"how": "stopped"}}
    shown = [None, [], 0]
    with pytest.raises(HubError, match="turned off here"):
        tab.go_on("ayu", job, 0, shown, None, "en", Asker("192.168.1.20", {}))
    assert jobs.status(job).state == "stopped"
    tab.go_on("ayu", job, 0, shown, None, "en", Asker("127.0.0.1", {}))
    assert jobs.status(job).state in ("waiting", "running")


def test_what_the_hub_says_is_shown_as_text() -> None:
    status = progress.Status(
        "x", "x", "tiny", "generator", "running", 0, 9, 12, 0.0, place="t4-small", note="a1b2c3 | <b>step 1</b>"
    )
    shown = watch.progress(status)
    assert "Hugging Face Jobs: t4-small · a1b2c3 | &lt;b&gt;step 1&lt;/b&gt;" in shown
    assert "Jobs" not in watch.progress(progress.Status("x", "x", "tiny", "generator", "running", 0, 9, 12, 0.0))
