"""push, pull, deploy and Hub ids, through the genuine client against a Hub on loopback.

The client reads HF_ENDPOINT at import, so the command line runs in a process of its own: one for all tests, since
importing torch takes longer than any of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from gan.card import write_card
from gan.checkpoint import load_folder, save
from gan.errors import CheckpointError
from gan.hub import MODEL_FILES, space_files
from gan.nets.cgan import ConditionalGenerator
from gan.settings import ROOT
from tests.hub_server import Account, HubServer, Repository, serving

TOKEN, READER, NARROW, WIDE, NOBODY = (f"hf_{name}SecretOfTheTests" for name in ("own", "read", "few", "fine", "no"))
ARGUMENTS = {"latent_size": 4, "width": 4}
CONFIG = {
    "kind": "generator",
    "title": "Small digits",
    "network": "cgan",
    "arguments": ARGUMENTS,
    "recipe": "mnist-cgan",
    "resolution": 28,
    "channels": 1,
    "classes": [str(i) for i in range(10)],
    "source": "/home/ratna/my-aunts-cloths",
    "report": "R5",
}
# Reads a command a line, answers with its exit code; everything printed goes to files, the client's logs included.
LOOP = """
import json, os, sys
from gan.__main__ import main
from huggingface_hub import constants
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    asked = json.loads(line)
    os.environ.update(asked["environment"])
    for name in asked["unset"]:
        os.environ.pop(name, None)
    constants.HF_HUB_CACHE = asked["environment"]["HF_HUB_CACHE"]
    sys.argv = ["canting", *asked["words"]]
    for number, path in ((1, asked["out"]), (2, asked["err"])):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    sys.stdout.flush(), sys.stderr.flush()
    print(code, file=answers, flush=True)
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


def environment(hub: HubServer, home: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(home),
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_ETAG_TIMEOUT": "1",
        "CANTING_HUB_PATIENCE": "2",
    }


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with serving() as hub:
        yield hub


@pytest.fixture
def hub(server: HubServer) -> HubServer:
    """An empty Hub with a few accounts."""
    for kept in (server.repositories, server.large, server.requests, server.faults):
        kept.clear()
    server.accounts = {
        TOKEN: Account("ratna", organisations=("sanggar",)),
        READER: Account("ratna", role="read"),
        NARROW: Account("ratna", role="fineGrained", permissions=("repo.content.read",)),
        WIDE: Account("ratna", role="fineGrained", permissions=("repo.content.read", "repo.write")),
    }
    return server


@pytest.fixture(scope="module")
def process(server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen]:
    settings = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"}
    settings |= environment(server, tmp_path_factory.mktemp("hf"))
    with subprocess.Popen(
        [sys.executable, "-c", LOOP], cwd=ROOT, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        yield child
        child.stdin.close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A CANTING_CHECKPOINTS with one model, ``small``, and things in its folder that are nobody's business."""
    folder = small(tmp_path / "models" / "small")
    (folder / "metrics.json").write_text(json.dumps({"fid": 12.5, "generated": 500}))
    (folder / "samples.png").write_bytes(b"\x89PNG grid of seeds")
    write_card(folder)
    (folder / "my-cloth.jpg").write_bytes(b"a private photo")
    (folder / "state.pt").write_bytes(b"a pickle")
    return folder.parent


def small(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    return save(folder, ConditionalGenerator(**ARGUMENTS).state_dict(), CONFIG)


@pytest.fixture
def canting(process: subprocess.Popen, hub: HubServer, models: Path, tmp_path: Path) -> Iterator[Callable[..., Done]]:
    """``canting("push", "small", "ratna/small")`` runs the command line. No token is in anything it leaves behind."""
    said = []

    def run(*words: object, token: str | None = TOKEN, **more: str) -> Done:
        out, err = tmp_path / "out", tmp_path / "err"
        settings = {"CANTING_CHECKPOINTS": str(models), "XDG_CACHE_HOME": str(tmp_path / "cache"), **more}
        settings["HF_HUB_CACHE"] = str(tmp_path / "hub")
        asked = {
            "words": [str(word) for word in words],
            "environment": settings | ({"HF_TOKEN": token} if token else {}),
            "unset": [] if token else ["HF_TOKEN"],
            "out": str(out),
            "err": str(err),
        }
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        said.append(out.read_text() + err.read_text())
        return Done(code, out.read_text(), err.read_text())

    yield run
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    files += [content for one in hub.repositories.values() for _, _, kept in one.commits for content in kept.values()]
    for token in (*hub.accounts, NOBODY, "SecretOfTheTests"):
        assert not any(token in text for text in said) and not any(token.encode() in content for content in files)


def failed(done: Done, sentence: str) -> None:
    """One sentence on standard error, and exit code 1."""
    assert done.code == 1 and done.out == ""
    assert done.err.startswith("canting: ") and sentence in done.err and done.err.count("\n") == 1, done.err


def commits(hub: HubServer, name: str = "ratna/small", kind: str = "model") -> list[str]:
    return [title for _, title, _ in hub.repository(kind, name).commits]


def asked_for(hub: HubServer, method: str, part: str) -> list[int]:
    """When a kind of request was made: its places among all requests."""
    return [i for i, (verb, path, _) in enumerate(hub.requests) if verb == method and part in path]


def test_a_push_publishes_the_model_and_nothing_else(canting, hub: HubServer, models: Path) -> None:
    words = ("--licence", "cc-by-4.0", "--data", "Forty cloths that my aunt drew.", "--message", "First try")
    done = canting("push", "small", "ratna/small", *words)
    assert done.code == 0 and f"{hub.url}/ratna/small" in done.out and done.err == ""
    made = hub.repository("model", "ratna/small")
    assert made.visibility == "private" and commits(hub) == ["initial commit", "First try"]
    files = {".gitattributes", "README.md", "config.json", "metrics.json", "model.safetensors", "samples.png"}
    assert set(made.files) == files
    assert made.files["model.safetensors"] == (models / "small" / "model.safetensors").read_bytes()
    assert hashlib.sha256(made.files["model.safetensors"]).hexdigest() in hub.large
    card = made.files["README.md"].decode()
    for part in ("license: cc-by-4.0", "`cc-by-4.0`", "Forty cloths", "12.5", "## Limits", "(samples.png)"):
        assert part in card
    assert 'gan.load("ratna/small")' in card
    assert json.loads(made.files["config.json"])["source"] == "my-aunts-cloths"
    assert not any(b"/home/ratna" in content for content in made.files.values())
    # The model at home is as it was, and storage is no place for a token.
    assert "cc-by-4.0" not in (models / "small" / "README.md").read_text()
    assert {header for _, path, header in hub.requests if path.startswith("/storage/")} == {""}


def test_no_folder_of_this_machine_is_published(canting, hub: HubServer, models: Path, tmp_path: Path) -> None:
    folder = models / "small"
    config = json.loads((folder / "config.json").read_text())
    paths = {"start": "/home/ratna/secret/base", "changed": {"test": "/home/ratna/secret/test", "views": 3}}
    (folder / "config.json").write_text(json.dumps(config | paths))
    write_card(folder)
    assert "/home/ratna" not in (folder / "README.md").read_text()
    # A card of before still has them.
    with (folder / "README.md").open("a") as card:
        card.write("Training began from `/home/ratna/secret/base`.")
    assert canting("push", "small", "ratna/small").code == 0
    files = hub.repository("model", "ratna/small").files
    assert not any(b"/home/ratna" in content for content in files.values())
    assert json.loads(files["config.json"])["changed"] == {"test": "test", "views": 3}
    shutil.copytree(models, tmp_path / "root" / "checkpoints")
    space = space_files(tmp_path / "root")
    assert len(space) == 5
    files = [content if isinstance(content, bytes) else content.read_bytes() for content in space.values()]
    assert not any(b"/home/ratna" in content for content in files)


@pytest.mark.parametrize(
    "card", [b"\xff\xfe", b"---\nlicense: [\n---\n", b"---\n- a\n- b\n---\n", b"---\ntags: 5\n---\n"]
)
def test_a_card_that_cannot_be_read_is_named(canting, hub: HubServer, models: Path, card: bytes) -> None:
    (models / "small" / "README.md").write_bytes(card)
    failed(canting("push", "small", "ratna/small"), "The card of small (README.md) cannot be read")
    assert ("model", "ratna/small") not in hub.repositories


def test_each_push_is_a_revision_and_the_same_again_is_none(canting, hub: HubServer, models: Path) -> None:
    assert canting("push", "small", "ratna/small").code == 0
    again = canting("push", "small", "ratna/small")
    assert again.code == 0 and "nothing to publish" in again.out and len(commits(hub)) == 2
    small(models / "small", seed=1)
    (models / "small" / "metrics.json").unlink()
    done = canting("push", models / "small", "ratna/small")
    assert done.code == 0 and done.out.endswith(": model.safetensors, metrics.json.\n")
    assert len(commits(hub)) == 3 and "metrics.json" not in hub.repository("model", "ratna/small").files


def test_public_only_once_it_is_complete(canting, hub: HubServer) -> None:
    hub.misbehave("POST", "/commit/", 500, times=1)
    failed(canting("push", "small", "ratna/small", "--public"), "out of order just now (HTTP 500)")
    made = hub.repository("model", "ratna/small")
    assert made.visibility == "private" and len(made.commits) == 1
    assert canting("push", "small", "ratna/small", "--public").code == 0
    assert made.visibility == "public" and len(made.commits) == 2
    assert asked_for(hub, "PUT", "/settings") > asked_for(hub, "POST", "/commit/")
    assert canting("push", "small", "ratna/small").code == 0
    assert made.visibility == "public"
    assert canting("push", "small", "ratna/small", "--private").code == 0
    assert made.visibility == "private"


def test_what_is_to_be_private_is_at_no_moment_public(canting, hub: HubServer, models: Path) -> None:
    assert canting("push", "small", "ratna/small", "--public").code == 0
    small(models / "small", seed=1)
    assert canting("push", "small", "ratna/small", "--private").code == 0
    assert asked_for(hub, "PUT", "/settings")[-1] < asked_for(hub, "POST", "/commit/")[-1]


def test_nothing_is_deleted_where_others_changed_something(canting, hub: HubServer, models: Path) -> None:
    assert canting("push", "small", "ratna/small").code == 0
    made = hub.repository("model", "ratna/small")
    made.add("by a friend", made.files | {"notes.md": b"hello"})
    (models / "small" / "metrics.json").unlink()
    failed(canting("push", "small", "ratna/small"), "has changed since you last pushed or pulled it (by a friend)")
    assert "metrics.json" in made.files


def test_an_organisation_and_a_fine_grained_token_may_publish(canting, hub: HubServer) -> None:
    assert canting("push", "small", "sanggar/small").code == 0
    assert canting("push", "small", "ratna/fine", token=WIDE).code == 0


def test_what_others_changed_is_shown_and_not_overwritten(canting, hub: HubServer, models: Path) -> None:
    assert canting("push", "small", "ratna/small").code == 0
    made = hub.repository("model", "ratna/small")
    theirs = {name: content for name, content in made.files.items() if name != "samples.png"}
    made.add("by a friend", theirs | {"README.md": b"# Better words", "notes.md": b"hello"})
    small(models / "small", seed=1)
    refused = canting("push", "small", "ratna/small")
    failed(refused, "ratna/small has changed since you last pushed or pulled it (by a friend)")
    assert "+ notes.md, - samples.png, ~ README.md" in refused.err and "--force" in refused.err
    assert commits(hub)[-1] == "by a friend"
    # Whoever has pulled it has seen it.
    assert canting("pull", "ratna/small", "--name", "theirs").code == 0
    assert (models / "theirs" / "README.md").read_text() == "# Better words"
    assert canting("push", "small", "ratna/small").code == 0
    assert made.files["notes.md"] == b"hello" and b"Better words" not in made.files["README.md"]
    made.add("again", theirs)
    assert canting("push", "small", "ratna/small", "--force").code == 0


def test_a_name_that_is_taken_is_not_overwritten(canting, hub: HubServer, tmp_path: Path) -> None:
    assert canting("push", "small", "ratna/small").code == 0
    hub.repository("model", "ratna/small").add("other", {"thesis.md": b"years of work"})
    elsewhere = {"XDG_CACHE_HOME": str(tmp_path / "another-machine")}
    failed(canting("push", "small", "ratna/small", **elsewhere), "ratna/small is taken")
    assert hub.repository("model", "ratna/small").files == {"thesis.md": b"years of work"}


def test_an_empty_repository_made_on_the_web_may_be_filled(canting, hub: HubServer) -> None:
    empty = hub.repositories["model", "ratna/small"] = Repository("public")
    empty.add("initial commit", {".gitattributes": b""})
    assert canting("push", "small", "ratna/small").code == 0
    assert empty.visibility == "public" and len(empty.commits) == 2


def test_a_commit_in_between_stops_the_push(canting, hub: HubServer, models: Path, monkeypatch) -> None:
    assert canting("push", "small", "ratna/small").code == 0
    small(models / "small", seed=1)
    made = hub.repository("model", "ratna/small")

    def meanwhile(method: str, path: str) -> None:
        """It comes after the repository was looked at, and before the commit."""
        if "/preupload/" in path and len(made.commits) == 2:
            made.add("by a friend", made.files | {"notes.md": b"hello"})

    monkeypatch.setattr(hub, "fault", meanwhile)
    failed(canting("push", "small", "ratna/small"), "Somebody else changed ratna/small at this moment")
    assert commits(hub)[-1] == "by a friend"


def test_the_parent_of_the_commit_is_what_was_looked_at(hub: HubServer) -> None:
    """The server itself refuses a commit upon an old one, or every test of it here would be worth nothing."""
    import httpx

    header = {"Authorization": f"Bearer {TOKEN}"}
    httpx.post(f"{hub.url}/api/repos/create", json={"name": "x", "organization": "ratna"}, headers=header)
    old = hub.repository("model", "ratna/x").head
    hub.repository("model", "ratna/x").add("newer", {})
    line = json.dumps({"key": "header", "value": {"summary": "late", "parentCommit": old}})
    answer = httpx.post(f"{hub.url}/api/models/ratna/x/commit/main", content=line, headers=header)
    assert answer.status_code == 412


def test_an_answer_lost_after_the_commit_is_no_failure(canting, hub: HubServer) -> None:
    hub.misbehave("POST", "/commit/", "lost", times=1)
    done = canting("push", "small", "ratna/small")
    assert done.code == 0 and "Published" in done.out and len(commits(hub)) == 2
    assert "nothing to publish" in canting("push", "small", "ratna/small").out


def test_a_pause_of_the_hub_is_waited_out(canting, hub: HubServer) -> None:
    hub.misbehave("POST", "/preupload/", 503, times=1)
    done = canting("push", "small", "ratna/small")
    assert done.code == 0 and done.err == ""


@pytest.mark.parametrize(
    ("token", "repository", "sentence"),
    [
        (None, "ratna/small", "Publishing needs your Hugging Face token"),
        (NOBODY, "ratna/small", "The Hub does not accept this token"),
        ("hf_ö SecretOfTheTests", "ratna/small", "The Hub does not accept this token"),
        (READER, "ratna/small", "This token may only read"),
        (NARROW, "ratna/small", "This token may only read"),
        (TOKEN, "budi/small", "This token cannot publish as budi; it can as ratna, sanggar."),
        (WIDE, "budi/small", "does not let this token write to budi/small"),
        (TOKEN, "small", "small is no repository name"),
        (TOKEN, "ratna/", "ratna/ is no repository name"),
        (TOKEN, "ratna/my batik", "is no repository name"),
        (TOKEN, "a/b/c", "is no repository name"),
        (TOKEN, "ratna/..", "is no repository name"),
        (TOKEN, "ratna/" + "x" * 120, "is no repository name"),
        (TOKEN, "", "is no repository name"),
    ],
)
def test_who_may_not_publish_is_told_why(canting, hub: HubServer, token, repository: str, sentence: str) -> None:
    failed(canting("push", "small", repository, token=token), sentence)
    failed(canting("deploy", repository, token=token), sentence)
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("method", "path", "what", "sentence"),
    [
        ("GET", "/whoami", 429, "too many requests"),
        ("GET", "/whoami", "slow", "cannot be reached or does not answer in time"),
        ("GET", "/whoami", "half", "broke off in the middle"),
        ("GET", "/whoami", "garbage", "broke off in the middle"),
        ("GET", "/api/models/", 502, "out of order just now (HTTP 502)"),
        ("POST", "/repos/create", 403, "does not let this token write to ratna/small"),
        ("POST", "/repos/create", 409, "taken by somebody else"),
        ("POST", "/repos/create", 402, "only on a paid plan"),
        ("POST", "/preupload/", 429, "too many requests"),
        ("POST", "/preupload/", 503, "out of order just now (HTTP 503)"),
        ("POST", "/objects/batch", "garbage", "broke off in the middle"),
        ("PUT", "/storage/", 500, "out of order just now (HTTP 500)"),
        ("PUT", "/storage/", 400, "The Hub refused: on purpose"),
        ("POST", "/commit/", 403, "does not let this token write"),
        ("POST", "/commit/", 500, "out of order just now (HTTP 500)"),
        ("POST", "/commit/", "slow", "did not confirm the new revision"),
    ],
)
def test_a_push_against_a_bad_hub_is_one_sentence(canting, hub: HubServer, method, path, what, sentence) -> None:
    hub.misbehave(method, path, what, message=f"on purpose, {TOKEN}" if what == 400 else "")
    done = canting("push", "small", "ratna/small", "--public")
    failed(done, sentence)
    made = hub.repositories.get(("model", "ratna/small"))
    assert made is None or (made.visibility == "private" and len(made.commits) == 1)
    hub.faults.clear()
    assert canting("push", "small", "ratna/small", "--public").code == 0
    assert hub.repository("model", "ratna/small").visibility == "public" and len(commits(hub)) == 2


def test_a_hub_that_asks_for_an_hour_is_not_waited_for(canting, hub: HubServer) -> None:
    hub.misbehave("POST", "/preupload/", 429, headers={"Retry-After": "3600"})
    failed(canting("push", "small", "ratna/small"), "too many requests")


def test_a_licence_must_be_one(canting, hub: HubServer) -> None:
    failed(canting("push", "small", "ratna/small", "--licence", "Do what you like"), "is no licence of the Hub's")
    failed(canting("push", "small", "ratna/small", "--licence", "beerware"), "does not accept the model's card")
    assert len(commits(hub)) == 1


def test_a_broken_model_is_not_published(canting, hub: HubServer, models: Path) -> None:
    (models / "small" / "model.safetensors").write_bytes(b"half of it")
    failed(canting("push", "small", "ratna/small"), "not a safetensors file")
    failed(canting("push", "none", "ratna/small"), "There is no model called none")
    assert hub.repositories == {}


def filled(hub: HubServer, canting: Callable[..., Done], **more: bytes) -> None:
    """ratna/small on the Hub, with ``more`` files that no model of Canting's has."""
    assert canting("push", "small", "ratna/small", "--public").code == 0
    made = hub.repository("model", "ratna/small")
    made.add("more", made.files | {name.replace("_", ".", 1): content for name, content in more.items()})


def test_every_file_of_a_shipped_model_is_published_with_it() -> None:
    shipped = {path.name for path in (ROOT / "checkpoints").glob("*/*") if not path.name.startswith(".")}
    assert shipped == set(MODEL_FILES)


def test_a_pull_brings_the_model_and_no_code(canting, hub: HubServer, models: Path) -> None:
    filled(hub, canting, modeling_py=b"raise SystemExit", pytorch_bin=pickle.dumps(print))
    done = canting("pull", "ratna/small", "--name", "mine", token=None)
    assert done.code == 0 and "mine" in done.out and done.err == ""
    found = {path.name for path in (models / "mine").iterdir()}
    assert found == {"README.md", "config.json", "metrics.json", "model.safetensors", "samples.png"}
    assert not any(path.endswith((".py", ".bin")) for _, path, _ in hub.requests)
    assert load_folder(models / "mine")[0]["title"] == "Small digits"
    assert sorted(path.name for path in models.iterdir()) == ["mine", "small"]


def test_a_pull_overwrites_nothing_unless_told_to(canting, hub: HubServer, models: Path) -> None:
    filled(hub, canting)
    mine = small(models / "small", seed=1) / "model.safetensors"
    kept = mine.read_bytes()
    failed(canting("pull", "ratna/small"), "There is a model called small already")
    assert mine.read_bytes() == kept
    assert canting("pull", "ratna/small", "--force").code == 0
    assert mine.read_bytes() != kept and not (models / "small" / "my-cloth.jpg").exists()
    failed(canting("pull", "ratna/small", "--name", "../small"), "cannot be a model's name")


def test_a_pull_that_was_killed_is_cleared_up(canting, hub: HubServer, models: Path) -> None:
    filled(hub, canting)
    # Killed between its two renames, two hours ago; another one goes on.
    room, busy = models / ".small.abc_1234", models / ".small.zyx_9876"
    room.mkdir()
    (models / "small").rename(room / "before")
    (room / "small").mkdir()
    busy.mkdir()
    # Left by a pull of a model called small.batik, and not this one's to bring back.
    other = models / ".small.batik.abc_1234"
    (other / "before").mkdir(parents=True)
    for path in (room, other):
        os.utime(path, (0, 0))
    failed(canting("pull", "ratna/small"), "There is a model called small already")
    assert not room.exists() and busy.exists() and (other / "before").exists()
    load_folder(models / "small")


@pytest.mark.parametrize(
    ("method", "path", "what", "sentence"),
    [
        ("GET", "/storage/", "altered", "did not arrive whole"),
        ("GET", "/storage/", "half", "broke off in the middle"),
        ("GET", "/storage/", 503, "out of order just now (HTTP 503)"),
        ("GET", "/config.json", "half", "broke off in the middle"),
        ("GET", "/api/models/", "garbage", "broke off in the middle"),
        ("GET", "/api/models/", "slow", "cannot be reached or does not answer in time"),
        ("GET", "/api/models/", 429, "too many requests"),
        ("GET", "/api/models/", 403, "does not let this token"),
    ],
)
def test_a_pull_from_a_bad_hub_leaves_what_was_there(canting, hub, models: Path, method, path, what, sentence) -> None:
    filled(hub, canting)
    before = (models / "small" / "model.safetensors").read_bytes()
    hub.misbehave(method, path, what)
    failed(canting("pull", "ratna/small", "--force"), sentence)
    assert sorted(path.name for path in models.iterdir()) == ["small"]
    assert (models / "small" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"config.json": b"{"}, "cannot be used"),
        ({"model.safetensors": pickle.dumps(print) + bytes(10**5)}, "not a safetensors file"),
        ({"config.json": json.dumps(CONFIG | {"arguments": {"latent_size": 5, "width": 4}}).encode()}, "has shape"),
        ({"config.json": None}, "is no model of Canting's"),
        # 400 GB, were it built.
        ({"config.json": json.dumps(CONFIG | {"arguments": {"latent_size": 4, "width": 50000}}).encode()}, "larger"),
        ({"config.json": json.dumps(CONFIG | {"arguments": {"latent_size": 4, "width": -4}}).encode()}, "cannot be"),
    ],
)
def test_a_strange_model_never_becomes_visible(canting, hub: HubServer, models: Path, files, sentence: str) -> None:
    filled(hub, canting)
    made = hub.repository("model", "ratna/small")
    made.add("strange", {name: data for name, data in (made.files | files).items() if data is not None})
    failed(canting("pull", "ratna/small", "--name", "strange"), sentence)
    assert sorted(path.name for path in models.iterdir()) == ["small"]


def test_private_models_are_for_their_owner(canting, hub: HubServer) -> None:
    assert canting("push", "small", "ratna/small").code == 0
    failed(canting("pull", "ratna/small", "--name", "mine", token=None), "There is no ratna/small on the Hub, or")
    failed(canting("pull", "ratna/none", "--name", "mine"), "There is no ratna/none on the Hub, or")
    assert canting("pull", "ratna/small", "--name", "mine", token=READER).code == 0


def python(code: str, hub: HubServer, tmp_path: Path, **more: str) -> subprocess.CompletedProcess:
    """A process of its own with the Hub's address."""
    settings = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"}
    settings |= environment(hub, tmp_path / "hf") | {"CANTING_CHECKPOINTS": str(tmp_path / "models"), **more}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120
    )


def test_load_takes_a_hub_id_and_keeps_it_for_days_without_network(canting, hub: HubServer, tmp_path: Path) -> None:
    filled(hub, canting, pytorch_bin=pickle.dumps(print))
    code = (
        "import gan; model = gan.load('ratna/small'); print(model.name, model.sample(labels=[1], seed=3)[0].size);"
        "assert gan.load('ratna/small') is model"
    )
    done = python(code, hub, tmp_path)
    assert done.stdout.split("\n")[0] == "ratna/small (28, 28)", done.stderr
    hub.misbehave("GET", "/", 503)
    hub.misbehave("HEAD", "/", 503)
    assert python(code, hub, tmp_path).stdout == done.stdout
    nowhere = python(code, hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "empty"))
    assert "HubError: The Hub cannot be reached" in nowhere.stderr


def test_nothing_of_the_hub_is_imported_before_it_is_needed(hub: HubServer, tmp_path: Path) -> None:
    code = "import sys, gan, gan.hub, gan.__main__; gan.available(); print('huggingface_hub' in sys.modules)"
    assert python(code, hub, tmp_path).stdout == "False\n"


def test_no_token_is_in_what_an_unforeseen_error_prints(hub: HubServer, tmp_path: Path, models: Path) -> None:
    hub.misbehave("GET", "/whoami", 418)
    code = "import gan.hub; gan.hub.push('small', 'ratna/small')"
    done = python(code, hub, tmp_path, HF_TOKEN=TOKEN, HF_HUB_VERBOSITY="debug")
    assert "HubError" in done.stderr and TOKEN not in done.stderr + done.stdout
    assert "direct cause" not in done.stderr and "During handling" not in done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """This repository with one small model, and with what a working copy gathers."""
    root = tmp_path / "copy"
    for name in ("gan", "training", ".github"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("app.py", "requirements.txt", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, root / name)
    small(root / "checkpoints" / "small")
    litter = ("gan/__pycache__/x.pyc", ".git/config", "data/cloth.jpg", "runs/a/state.pt", "checkpoints/small/me.jpg")
    for path in (*litter, ".env", "gan/.secret", "checkpoints/.half/config.json", ".github/pictures/mine.png"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("not for publication")
    return root


def test_deploy_makes_a_space_that_has_all_it_needs(hub: HubServer, copy: Path, tmp_path: Path) -> None:
    def deploy(*words: str) -> Done:
        settings = {**os.environ, **environment(hub, tmp_path / "hf"), "HF_TOKEN": TOKEN}
        settings["XDG_CACHE_HOME"] = str(tmp_path / "cache")
        done = subprocess.run(
            [sys.executable, "-m", "gan", "deploy", "ratna/canting", *words],
            cwd=copy,
            env=settings,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert TOKEN not in done.stdout + done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    assert deploy().code == 0
    space = hub.repository("space", "ratna/canting")
    assert (space.visibility, space.sdk, len(space.commits)) == ("private", "gradio", 2)
    assert b"sdk: gradio" in space.files["README.md"]
    assert {"app.py", "requirements.txt", "gan/hub.py", "gan/texts/id.json", "training/tab.py"} < set(space.files)
    assert space.files["checkpoints/small/model.safetensors"]
    named = set(re.findall(r"]\((\.github/[^)]+)\)", space.files["README.md"].decode()))
    assert named and named < set(space.files)
    assert not any(b"not for publication" in content for content in space.files.values())
    assert "nothing to publish" in deploy().out and len(space.commits) == 2
    # The Space as it was published starts.
    for path, content in space.files.items():
        (tmp_path / "space" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "space" / path).write_bytes(content)
    code = "import app; app.build(); from gan.catalog import available; print(available())"
    started = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "space",
        env={key: value for key, value in os.environ.items() if key != "CANTING_CHECKPOINTS"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert started.stdout.strip().endswith("['small']"), started.stderr[-2000:]
    # Files that went away here go away there, and what others put there is not trampled on.
    (copy / "gan" / "bench.py").unlink()
    assert deploy("--public").code == 0
    assert "gan/bench.py" not in space.files and space.visibility == "public" and len(space.commits) == 3
    space.add("edited on the Hub", space.files | {"app.py": b"print('mine')"})
    (copy / "gan" / "card.py").write_text("# changed\n")
    refused = deploy()
    assert refused.code == 1 and "~ app.py" in refused.err
    assert space.files["app.py"] == b"print('mine')"
    assert deploy("--force").code == 0 and b"def main" in space.files["app.py"]


def test_the_errors_are_typed() -> None:
    from gan import hub
    from gan.errors import CantingError, HubError

    assert issubclass(HubError, CantingError) and not issubclass(HubError, CheckpointError)
    with pytest.raises(HubError) as caught:
        hub.check_repository("a b")
    assert caught.value.say("id").startswith("a b bukan nama repositori")
