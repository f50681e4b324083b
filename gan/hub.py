"""Models to and from the Hugging Face Hub, and this repository to a Space.

Everything goes through ``huggingface_hub``'s own client. A push is one commit upon the revision that was looked at, so
a repository is never left with half of a model. What was last pushed or pulled is remembered in the user's cache
folder: a repository that has changed since is not overwritten unless told to.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.checkpoint import CONFIG, DISCRIMINATOR, WEIGHTS, build_network, load_folder, read_config
from gan.errors import CheckpointError, HubError
from gan.files import atomic
from gan.hub_client import talking, unanswered, waiting
from gan.settings import ROOT, cache_folder, checkpoints_folder
from gan.texts import say

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"
# What a model consists of; nothing else in a folder is published, nothing else in a repository is fetched.
MODEL_FILES = (
    CONFIG,
    WEIGHTS,
    DISCRIMINATOR,
    "rejection.safetensors",
    "metrics.json",
    "history.csv",
    "confusion.csv",
    "samples.png",
    CARD,
)
SPACE_FILES = ("app.py", "requirements.txt", CARD, "LICENSE")
SPACE_FOLDERS = ("gan", "training", "checkpoints")
LARGEST_MODEL = 2_000_000_000
SHOWN_CHANGES = 8
ABANDONED_SECONDS = 3600
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
FOLDER_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class Published:
    """What a push or a deployment made: the page, its newest commit, and the paths that this changed (none: no commit
    was needed)."""

    url: str
    commit: str
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Remote:
    """A repository at one commit: ``files`` maps each path to its size in bytes and its two hashes.

    The first is the git blob's; the second the SHA-256 of the content, only where it is stored as a large file.
    """

    commit: str
    private: bool
    files: dict[str, tuple[int, str, str | None]]

    def holds(self, path: str, content: Path | bytes) -> bool:
        """Whether ``path`` there is exactly ``content``."""
        from huggingface_hub.utils.sha import git_hash

        if path not in self.files:
            return False
        _, blob, sha256 = self.files[path]
        file = io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
        with file:
            if sha256:
                return sha256 == hashlib.file_digest(file, "sha256").hexdigest()
            return blob == git_hash(file.read())


def push(
    model: str | Path,
    repository: str,
    *,
    private: bool | None = None,
    licence: str | None = None,
    message: str | None = None,
    data: str | None = None,
    force: bool = False,
    token: str | None = None,
) -> Published:
    """Publish a model as the newest revision of ``repository`` ("owner/name"), made if there is none.

    Args:
        model: a name or a folder. Its weights are loaded strictly first: a broken model is not published.
        private: who may see it; ``None`` keeps what is, and makes a new repository private.
        licence: the Hub's name of one, such as ``cc-by-4.0``; ``None`` keeps the card's own.
        message: the commit's; ``None`` says which model it is.
        data: one paragraph for the card on what the model was trained with; ``None`` keeps the card's own.
        force: overwrite changes that others made there.
        token: ``None`` takes ``huggingface_hub``'s own.

    Raises:
        HubError: whatever goes wrong on the way; nothing is published then.
        CheckpointError: when the model cannot be loaded.
    """
    from gan.catalog import find

    check_repository(repository)
    if licence is not None and not LICENCE.fullmatch(licence):
        raise HubError("error.hub.licence", licence=licence)
    folder = find(model)
    load_folder(folder)
    files: dict[str, Path | bytes] = {name: folder / name for name in MODEL_FILES if (folder / name).is_file()}
    files[CONFIG] = public_config(folder)
    files[CARD] = hub_card(folder, repository, licence, data).encode()
    return publish(
        repository,
        "model",
        files,
        owned=lambda path: path in MODEL_FILES,
        private=private,
        message=message or f"Canting: {folder.name}",
        force=force,
        token=token,
    )


def deploy(
    repository: str,
    *,
    public: bool = False,
    message: str | None = None,
    force: bool = False,
    token: str | None = None,
) -> Published:
    """Make or update the Space ``repository`` ("owner/name") from this repository and its shipped checkpoints.

    A new Space is private unless ``public``; of one that is there, ``public`` opens it and nothing closes it.

    Raises:
        HubError: whatever goes wrong on the way; the Space then stays as it was.
    """
    check_repository(repository)
    return publish(
        repository,
        "space",
        space_files(ROOT),
        owned=lambda path: path in SPACE_FILES or path.split("/")[0] in SPACE_FOLDERS,
        private=False if public else None,
        message=message or "Canting",
        force=force,
        token=token,
    )


def pull(repository: str, name: str | None = None, *, force: bool = False, token: str | None = None) -> Path:
    """Fetch a model into the checkpoints folder and return its folder, ``name`` or the repository's own name.

    It is checked against the Hub's hashes and loaded strictly before it can be seen there.

    Raises:
        HubError: when it cannot be fetched whole, or the folder is there already and not ``force``.
        CheckpointError: when what was fetched does not fit its network.
    """
    check_repository(repository)
    name = name or repository.split("/")[1]
    if not FOLDER_NAME.fullmatch(name):
        raise HubError("error.hub.folder_name", name=name)
    target = checkpoints_folder() / name
    clear_up(target)
    if target.exists() and not force:
        raise HubError("error.hub.folder", folder=name)
    with talking(repository, token) as api:
        fetched, remote = fetch(api, repository)
    try:
        place(fetched, target)
    except OSError as error:
        raise HubError("error.hub.disk", detail=error.strerror or type(error).__name__) from None
    remember(api.endpoint, "model", repository, remote.commit)
    return target


def account(token: str | None = None) -> str:
    """The name that a token (``None``: ``huggingface_hub``'s own) belongs to.

    Raises:
        HubError: when there is none, or the Hub does not know it or does not answer.
    """
    with talking("whoami", token, write=True) as api:
        return api.whoami()["name"]


def place(fetched: Path, target: Path) -> None:
    """Copy a fetched model to ``target``, all at once and only if its weights fit."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name with a dot in front is in no list of models.
    room = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        complete = room / target.name
        complete.mkdir()
        for file in sorted(path for path in fetched.iterdir() if path.name in MODEL_FILES):
            shutil.copyfile(file, complete / file.name)
        check_size(complete)
        load_folder(complete)
        if target.exists():
            target.rename(room / "before")
        complete.rename(target)
    finally:
        if not target.exists() and (room / "before").exists():
            (room / "before").rename(target)
        shutil.rmtree(room, ignore_errors=True)


def clear_up(target: Path) -> None:
    """Bring back what a pull that was killed had set aside, and remove what it left."""
    for room in target.parent.glob(f".{target.name}.*"):
        # A younger one may belong to a pull that is still going on.
        if room.is_dir() and time.time() - room.stat().st_mtime > ABANDONED_SECONDS:
            with contextlib.suppress(OSError):
                if (room / "before").is_dir() and not target.exists():
                    (room / "before").rename(target)
            shutil.rmtree(room, ignore_errors=True)


@cache
def cached(repository: str) -> Path:
    """The folder of a Hub model in the Hub's own cache, asked for once a process; without network the one kept before.

    Raises:
        HubError: when it is not there, is no model of Canting's, or cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    check_repository(repository)
    try:
        with talking(repository) as api:
            folder = fetch(api, repository)[0]
            check_size(folder)
            return folder
    except HubError as error:
        if error.key not in ("error.hub.unreachable", "error.hub.down", "error.hub.busy"):
            raise
        try:
            kept = snapshot_download(repository, allow_patterns=list(MODEL_FILES), local_files_only=True)
        except OSError:
            raise error from None
        return Path(kept)


def summary(model: str, made: Published, language: str = "en") -> str:
    """One sentence on what a push did."""
    key = "hub.pushed" if made.changed else "hub.unchanged"
    shown = listed(list(made.changed))
    return say(key, language, model=model, url=made.url, commit=made.commit[:8], files=shown)


def fetch(api: HfApi, repository: str) -> tuple[Path, Remote]:
    """Download a model's files, and no others, into the Hub's cache: the folder there and what the Hub says of it.

    Every file is what the Hub's hashes say.
    """
    from huggingface_hub import snapshot_download

    remote = look(api, repository, "model")
    if remote is None:
        raise HubError("error.hub.missing", repository=repository)
    if CONFIG not in remote.files or WEIGHTS not in remote.files:
        raise HubError("error.hub.no_model", repository=repository)
    if sum(remote.files[name][0] for name in MODEL_FILES if name in remote.files) > LARGEST_MODEL:
        raise HubError("error.hub.large", repository=repository, most=LARGEST_MODEL // 10**9)
    folder = snapshot_download(
        repository, revision=None, allow_patterns=list(MODEL_FILES), token=api.token, endpoint=api.endpoint
    )
    if Path(folder).name != remote.commit:
        # Somebody has pushed between the two questions.
        remote = look(api, repository, "model", Path(folder).name) or remote
    for file in Path(folder).iterdir():
        if file.name in MODEL_FILES and not remote.holds(file.name, file):
            # Kept, it would be taken for whole the next time.
            file.resolve().unlink()
            raise HubError("error.hub.broken", repository=repository, file=file.name)
    return Path(folder), remote


def check_size(folder: Path) -> None:
    """Raises CheckpointError for a config that asks for a larger network than its weights fill: before memory is
    taken for one."""
    import torch

    try:
        with torch.device("meta"):
            state = build_network(read_config(folder)).state_dict()
    except (RuntimeError, ArithmeticError, LookupError) as error:
        raise CheckpointError("error.checkpoint.network", detail=type(error).__name__) from None
    # No number takes less than a byte.
    if sum(tensor.numel() for tensor in state.values()) > (folder / WEIGHTS).stat().st_size:
        raise CheckpointError("error.checkpoint.size", folder=folder.name)


def publish(
    repository: str,
    kind: str,
    files: dict[str, Path | bytes],
    *,
    owned: Callable[[str], bool],
    private: bool | None,
    message: str,
    force: bool,
    token: str | None,
) -> Published:
    """Make ``files`` the newest revision in one commit. Paths that are ``owned`` and not among them are deleted.

    A new repository stays private until its first commit is complete.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    with talking(repository, token, write=True) as api:
        check_owner(api, repository)
        remote = look(api, repository, kind)
        new = remote is None
        if new:
            sdk = "gradio" if kind == "space" else None
            api.create_repo(repository, repo_type=kind, private=True, space_sdk=sdk)
            remote = look(api, repository, kind)
            if remote is None:
                raise HubError("error.hub.missing", repository=repository)
            # Should the commit fail, the empty repository is ours at the next attempt.
            remember(api.endpoint, kind, repository, remote.commit)
        changed = tuple(sorted(path for path, content in files.items() if not remote.holds(path, content)))
        gone = tuple(sorted(path for path in remote.files if owned(path) and path not in files))
        commit = remote.commit
        empty = set(remote.files) <= {".gitattributes"}
        if (changed or gone) and not (new or empty or force):
            check_unmoved(api, repository, kind, remote)
        if private and not remote.private:
            api.update_repo_settings(repository, repo_type=kind, private=True)
        if changed or gone:
            operations: list[Any] = [CommitOperationAdd(path, files[path]) for path in changed]
            operations += [CommitOperationDelete(path, is_folder=False) for path in gone]
            try:
                made = api.create_commit(
                    repository,
                    operations,
                    commit_message=message,
                    repo_type=kind,
                    parent_commit=remote.commit,
                )
                commit = made.oid
            except Exception as error:
                # The answer may have been lost after the commit was made.
                commit = arrived(api, repository, kind, remote, files, gone)
                if commit is None and unanswered(error):
                    raise HubError("error.hub.unconfirmed", repository=repository) from None
                if commit is None:
                    raise
        remember(api.endpoint, kind, repository, commit)
        if private is False and (new or remote.private):
            api.update_repo_settings(repository, repo_type=kind, private=False)
        prefix = "spaces/" if kind == "space" else ""
        return Published(f"{api.endpoint}/{prefix}{repository}", commit, changed + gone)


def arrived(
    api: HfApi, repository: str, kind: str, before: Remote, files: dict[str, Path | bytes], gone: tuple[str, ...]
) -> str | None:
    """The commit that made the repository hold ``files`` since ``before``, where there is one and the Hub answers."""
    waiting.since = None
    try:
        now = look(api, repository, kind)
    except Exception:
        return None
    if now is None or now.commit == before.commit or any(path in now.files for path in gone):
        return None
    return now.commit if all(now.holds(path, content) for path, content in files.items()) else None


def look(api: HfApi, repository: str, kind: str, revision: str | None = None) -> Remote | None:
    """The repository at ``revision`` (``None``: its newest), or ``None`` where there is no such thing to be seen."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = api.repo_info(repository, repo_type=kind, revision=revision, files_metadata=True)
    except GatedRepoError:
        raise
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return None
    files = {
        one.rfilename: (one.size or 0, one.blob_id or "", one.lfs.sha256 if one.lfs else None)
        for one in info.siblings or ()
    }
    if info.sha is None:
        raise ValueError("no commit")
    return Remote(info.sha, bool(info.private), files)


def check_unmoved(api: HfApi, repository: str, kind: str, remote: Remote) -> None:
    """Raises HubError unless ``remote`` is what was last pushed or pulled here, naming what differs."""
    known = recall(api.endpoint, kind, repository)
    if known == remote.commit:
        return
    before = look(api, repository, kind, known) if known else None
    if known is None:
        raise HubError("error.hub.taken", repository=repository, files=listed(sorted(remote.files)))
    titles = []
    for one in api.list_repo_commits(repository, repo_type=kind):
        if one.commit_id == known:
            break
        titles.append(" ".join(one.title.split())[:60])
    raise HubError("error.hub.moved", repository=repository, commits=listed(titles), files=difference(before, remote))


def difference(before: Remote | None, now: Remote) -> str:
    """What changed between two revisions, readable: ``+`` new, ``-`` removed, ``~`` changed."""
    old = before.files if before else {}
    lines = [f"+ {path}" for path in sorted(now.files.keys() - old.keys())]
    lines += [f"- {path}" for path in sorted(old.keys() - now.files.keys())]
    lines += [f"~ {path}" for path in sorted(old.keys() & now.files.keys()) if old[path] != now.files[path]]
    return listed(lines)


def listed(words: list[str]) -> str:
    """The first few of ``words`` in one line, and how many more there are."""
    more = f", … ({len(words)})" if len(words) > SHOWN_CHANGES else ""
    return ", ".join(words[:SHOWN_CHANGES]) + more or "-"


def space_files(root: Path) -> dict[str, Path | bytes]:
    """What a Space needs of this repository, by path: code, and of checkpoints only what belongs to a model."""
    found: dict[str, Path | bytes] = {name: root / name for name in SPACE_FILES if (root / name).is_file()}
    for folder in SPACE_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root).parts
            hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
            if hidden or path.is_symlink() or not path.is_file() or path.suffix in (".pyc", ".log"):
                continue
            if folder == "checkpoints" and not (len(parts) == 3 and path.name in MODEL_FILES):
                continue
            found["/".join(parts)] = path
    return found


def public_config(folder: Path) -> bytes:
    """``config.json`` without this machine's folders: of a path only the last name stays."""
    config = read_config(folder)
    for key in ("source", "start"):
        value = config.get(key)
        if isinstance(value, str) and (Path(value).is_absolute() or value.startswith((".", "~"))):
            config[key] = Path(value).name
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()


def hub_card(folder: Path, repository: str, licence: str | None, data: str | None) -> str:
    """The model's card as it stands on the Hub: loaded by its Hub name, with the publisher's licence and data text."""
    from huggingface_hub import ModelCard

    from gan.card import card as made

    path = folder / CARD
    text = path.read_text(encoding="utf-8") if path.is_file() else made(folder)
    card = ModelCard(
        text.replace(f'gan.load("{folder.name}")', f'gan.load("{repository}")'), ignore_metadata_errors=True
    )
    if licence is not None:
        card.data.license = licence
        card.text = with_section(card.text, "Licence", f"The publisher has put this model under `{licence}`.")
    if data is not None:
        card.text = with_section(card.text, "Data", data.strip())
    return str(card)


def with_section(text: str, heading: str, body: str) -> str:
    """``text`` with the section under ``heading`` replaced, or added at the end."""
    # Everything up to the next heading of the same rank.
    section = re.compile(rf"^## {heading}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    new = f"## {heading}\n\n{body}\n\n"
    if section.search(text):
        return section.sub(lambda _: new, text, count=1).rstrip() + "\n"
    return f"{text.rstrip()}\n\n{new.rstrip()}\n"


def check_repository(repository: str) -> None:
    """Raises HubError unless ``repository`` is "owner/name" as the Hub allows it."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError:
        raise HubError("error.hub.name", repository=repository) from None
    if not REPOSITORY.fullmatch(repository):
        raise HubError("error.hub.name", repository=repository)


def check_owner(api: HfApi, repository: str) -> None:
    """Raises HubError where the token may not write, or not as the repository's owner."""
    me = api.whoami()
    access = me.get("auth", {}).get("accessToken", {})
    owner = repository.split("/")[0]
    if access.get("role") == "read":
        raise HubError("error.hub.read_only")
    if access.get("role") == "fineGrained":
        scopes = access.get("fineGrained", {})
        allowed = {name for one in scopes.get("scoped", ()) for name in one.get("permissions", ())}
        if "repo.write" not in allowed | set(scopes.get("global", ())):
            raise HubError("error.hub.read_only")
    names = [me["name"], *(one["name"] for one in me.get("orgs", ()))]
    # Other kinds of token need not say which organisations they reach.
    if access.get("role") == "write" and owner.lower() not in (name.lower() for name in names):
        raise HubError("error.hub.owner", owner=owner, known=", ".join(names))


def memory(kind: str, repository: str) -> Path:
    """The file that remembers the commit last pushed or pulled."""
    return cache_folder() / "hub" / f"{kind}--{repository.replace('/', '--')}.json"


def recall(endpoint: str, kind: str, repository: str) -> str | None:
    """The commit last pushed or pulled, if any is remembered."""
    try:
        kept = json.loads(memory(kind, repository).read_text(encoding="utf-8"))
        return str(kept[endpoint])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(endpoint: str, kind: str, repository: str, commit: str) -> None:
    """Keep the commit last pushed or pulled. A cache folder that cannot be written only costs a question later."""
    with contextlib.suppress(OSError), atomic(memory(kind, repository)) as path:
        path.write_text(json.dumps({endpoint: commit}) + "\n", encoding="utf-8")
