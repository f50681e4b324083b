"""Models to and from the Hugging Face Hub, and this repository to a Space.

Everything goes through ``huggingface_hub``'s own client. A push is one commit upon the revision that was looked at
(:mod:`gan.hub_commit`), so a repository is never left with half of a model.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gan import catalog
from gan.checkpoint import CARD, CONFIG, MODEL_FILES, WEIGHTS, build_network, load_folder, read_config, without_folders
from gan.errors import CheckpointError, HubError
from gan.files import replacing, restore
from gan.hub_client import talking
from gan.hub_commit import Published, Remote, listed, look, publish, remember
from gan.settings import ROOT, checkpoints_folder
from gan.texts import say

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SPACE_FILES = ("app.py", "requirements.txt", CARD, "LICENSE")
SPACE_FOLDERS = ("gan", "training", "checkpoints")
SPACE_PICTURES = ".github/pictures/"
LARGEST_MODEL = 2_000_000_000
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
FOLDER_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


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
    check_repository(repository)
    if licence is not None and not LICENCE.fullmatch(licence):
        raise HubError("error.hub.licence", licence=licence)
    folder = catalog.find(model)
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
        owned=lambda path: (
            path in SPACE_FILES or path.split("/")[0] in SPACE_FOLDERS or path.startswith(SPACE_PICTURES)
        ),
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
    restore(target)
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
    with replacing(target) as complete:
        for file in sorted(path for path in fetched.iterdir() if path.name in MODEL_FILES):
            shutil.copyfile(file, complete / file.name)
        check_size(complete)
        catalog.entry(complete)
        catalog.opened(complete, target.name)


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

    with torch.device("meta"):
        state = build_network(read_config(folder)).state_dict()
    # No number takes less than a byte.
    if sum(tensor.numel() for tensor in state.values()) > (folder / WEIGHTS).stat().st_size:
        raise CheckpointError("error.checkpoint.size", folder=folder.name)


def space_files(root: Path) -> dict[str, Path | bytes]:
    """What a Space needs of this repository, by path: code, and of checkpoints only what belongs to a model."""
    found: dict[str, Path | bytes] = {name: root / name for name in SPACE_FILES if (root / name).is_file()}
    for folder in SPACE_FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root).parts
            hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
            if hidden or path.is_symlink() or not path.is_file() or path.suffix in (".pyc", ".log"):
                continue
            name, model = "/".join(parts), path.parent
            if folder != "checkpoints":
                found[name] = path
            elif len(parts) == 3 and path.name in MODEL_FILES and (model / CONFIG).is_file():
                public = {CONFIG: public_config, CARD: public_card}.get(path.name)
                # A folder whose config cannot be read is no model there either.
                with contextlib.suppress(CheckpointError):
                    found[name] = public(model) if public else path
    # The card's pictures: a Space has no others.
    card = (root / CARD).read_text(encoding="utf-8") if CARD in found else ""
    shown = {name: root / name for name in re.findall(rf"]\(({re.escape(SPACE_PICTURES)}[\w-]+\.png)\)", card)}
    return found | {name: path for name, path in shown.items() if path.is_file() and not path.is_symlink()}


def public_config(folder: Path) -> bytes:
    """``config.json`` without this machine's folders: of a path only the last name stays."""
    config = read_config(folder)
    changed = config.get("changed")
    for values, keys in ((config, ("source", "start")), (changed, changed)):
        if isinstance(values, dict):
            values.update({key: without_folders(values[key]) for key in keys if key in values})
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()


def public_card(folder: Path) -> bytes:
    """The model's card without this machine's folders, made where there is none.

    Raises:
        HubError: for one that is no text.
    """
    from gan.card import card as made

    path, config = folder / CARD, read_config(folder)
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else made(folder)
    except ValueError as error:
        raise HubError("error.checkpoint.card", folder=folder.name, detail=error) from error
    for value in (config.get("source"), config.get("start")):
        if value and value != without_folders(value):
            text = text.replace(value, without_folders(value))
    return text.encode()


def hub_card(folder: Path, repository: str, licence: str | None, data: str | None) -> str:
    """The model's card as it stands on the Hub: loaded by its Hub name, with the publisher's licence and data text.

    Raises:
        HubError: for one that was written by hand and cannot be read.
    """
    from huggingface_hub import ModelCard

    text = public_card(folder).decode().replace(f'gan.load("{folder.name}")', f'gan.load("{repository}")')
    try:
        card = ModelCard(text, ignore_metadata_errors=True)
    except Exception as error:  # of the front matter: yaml's own errors, and whatever a list or a number there ends in
        raise HubError("error.checkpoint.card", folder=folder.name, detail=type(error).__name__) from error
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
