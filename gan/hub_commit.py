"""A repository on the Hugging Face Hub, as it was looked at, and changed by one commit upon that revision.

What was last pushed or pulled is remembered in the user's cache folder: a repository that has changed since is not
overwritten unless told to.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan.errors import HubError
from gan.files import atomic
from gan.hub_client import talking, unanswered, waiting
from gan.settings import cache_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SHOWN_CHANGES = 8


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
