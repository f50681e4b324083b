"""A Hugging Face Hub on loopback, as far as Canting uses one: real HTTP, spoken to by the genuine client.

Repositories live in memory. It checks what the real one checks: tokens and their scopes, names, who owns what, the
commit that a commit builds upon, and the SHA-256 of large files. Jobs are real: ``tests.hub_jobs`` runs their commands.
``misbehave`` makes it answer badly on purpose.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_jobs import Job

LARGE_SUFFIXES = (".safetensors", ".png", ".zip")
LARGE_BYTES = 10_000_000
LICENCES = ("apache-2.0", "cc-by-4.0", "mit", "other")
FLAVORS = ("cpu-basic", "t4-small")
KINDS = {"models": "model", "spaces": "space"}


@dataclass
class Account:
    """Whose token it is: ``role`` is read, write or fineGrained, the last with its ``permissions``; ``credit`` pays
    jobs."""

    name: str
    role: str = "write"
    organisations: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    credit: bool = True


@dataclass
class Repository:
    """All commits, oldest first: their id, title, and files by path. ``visibility`` is private or public."""

    visibility: str
    sdk: str | None = None
    commits: list[tuple[str, str, dict[str, bytes]]] = field(default_factory=list)

    @property
    def head(self) -> str:
        return self.commits[-1][0]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][2]

    def add(self, title: str, files: dict[str, bytes]) -> str:
        commit = hashlib.sha1(f"{len(self.commits)} {title} {sorted(files)} {time.time_ns()}".encode()).hexdigest()
        self.commits.append((commit, title, files))
        return commit

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.head, self.files
        return next(((commit, files) for commit, _, files in self.commits if commit == revision), None)


@dataclass
class Fault:
    """What to do wrong, how often: an HTTP status, or one of the words in ``Answers.answer``."""

    method: str
    path: re.Pattern[str]
    what: int | str
    times: int
    headers: dict[str, str]
    message: str


def is_large(path: str, size: int) -> bool:
    """Whether the Hub keeps a file outside git."""
    return path.endswith(LARGE_SUFFIXES) or size > LARGE_BYTES


def blob_id(content: bytes) -> str:
    """Git's name for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Refusal(Exception):
    """An answer that says no."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        self.status, self.message, self.code = status, message, code


class HubServer:
    """The server and what it holds; ``url`` goes into HF_ENDPOINT."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.faults: list[Fault] = []
        self.jobs: dict[str, Job] = {}
        # A script to run in the place of what jobs are asked to do.
        self.instead = ""
        self.lock = threading.RLock()
        hub = self

        class Bound(Answers):
            pass

        Bound.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.server.daemon_threads = True
        port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{port}"
        # Large files lie on another host, as far as the client can tell: one that must not see the token.
        self.storage = f"http://localhost:{port}/storage"

    def misbehave(
        self,
        method: str,
        path: str,
        what: int | str,
        times: int = 1000,
        headers: dict[str, str] | None = None,
        message: str = "",
    ) -> None:
        """Answer requests whose path matches ``path`` badly: a status, "slow", "half", "garbage", "lost", "altered"."""
        self.faults.append(Fault(method, re.compile(path), what, times, headers or {}, message))

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for one in self.faults:
                if one.times > 0 and one.method == method and one.path.search(path):
                    one.times -= 1
                    return one
        return None

    def repository(self, kind: str, name: str) -> Repository:
        return self.repositories[kind, name]


@contextlib.contextmanager
def serving() -> Iterator[HubServer]:
    """A HubServer that answers until the block ends."""
    hub = HubServer()
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        for job in hub.jobs.values():
            job.end("DELETED")
        hub.server.shutdown()
        hub.server.server_close()


class Answers(BaseHTTPRequestHandler):
    """One request."""

    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def answer(self) -> None:
        """Do what is asked, or what ``misbehave`` wants instead."""
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append((self.command, path, self.headers.get("Authorization", "")))
        fault = self.hub.fault(self.command, path)
        if fault and isinstance(fault.what, int):
            self.send(fault.what, {"error": fault.message or "on purpose"}, fault.headers)
            return
        if fault and fault.what == "slow":
            time.sleep(4)
        if fault and fault.what == "garbage":
            self.send(200, b"<html>a proxy's page</html>")
            return
        try:
            if found := re.fullmatch(r"/api/jobs/([^/]+)/([^/]+)/logs", path):
                self.stream(self.job(*found.groups()), fault)
                return
            with self.hub.lock:
                status, content, headers = self.route(path, body)
        except Refusal as refusal:
            extra = {"X-Error-Message": refusal.message}
            if refusal.code:
                extra["X-Error-Code"] = refusal.code
            self.send(refusal.status, {"error": refusal.message}, extra)
            return
        if fault and fault.what == "lost":
            self.close_connection = True
            self.connection.close()
            return
        if fault and fault.what == "altered" and isinstance(content, bytes):
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send(status, content, headers, half=bool(fault and fault.what == "half"))

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None, half: bool = False) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            headers = {"Content-Length": str(len(body)), **(headers or {})}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if half else body)
            if half:
                self.close_connection = True

    def account(self) -> Account | None:
        """Who asks. Raises Refusal for a token that nobody has."""
        header = self.headers.get("Authorization", "")
        if not header:
            return None
        account = self.hub.accounts.get(header.removeprefix("Bearer "))
        if account is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return account

    def writer(self, owner: str) -> Account:
        """Who asks, if they may write to ``owner``."""
        account = self.account()
        if account is None:
            raise Refusal(401, "Invalid username or password.")
        may = account.role == "write" or "repo.write" in account.permissions
        if not may or owner not in (account.name, *account.organisations):
            raise Refusal(403, "Forbidden: you don't have the rights to write there")
        return account

    def visible(self, kind: str, name: str) -> Repository:
        """A repository that whoever asks may see."""
        account = self.account()
        repository = self.hub.repositories.get((kind, name))
        names = (account.name, *account.organisations) if account else ()
        if repository is None or (repository.visibility == "private" and name.split("/")[0] not in names):
            raise Refusal(404 if account else 401, "Repository not found", "RepoNotFound")
        return repository

    def route(self, path: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        """The answer's status, content (JSON or bytes) and headers."""
        if path == "/api/whoami-v2":
            return 200, self.whoami(), {}
        if path == "/api/repos/create":
            return 200, self.create(json.loads(body)), {}
        if found := re.fullmatch(r"/api/jobs/([^/]+)(?:/([^/]+))?(?:/(cancel))?", path):
            return 200, self.jobs(*found.groups(), body), {}
        if path == "/api/validate-yaml":
            return self.validate(json.loads(body)["content"])
        if found := re.fullmatch(r"/api/(models|spaces)/([^/]+/[^/]+)(?:/(.+))?", path):
            return self.api(KINDS[found[1]], found[2], found[3] or "", body)
        if found := re.fullmatch(r"/(?:spaces/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            self.writer(found[1].split("/")[0])
            return 200, {"transfer": "basic", "objects": [self.batch(one) for one in json.loads(body)["objects"]]}, {}
        if found := re.fullmatch(r"/storage/([0-9a-f]{64})", path):
            return self.storage(found[1], body)
        if found := re.fullmatch(r"/(?:(spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolve(KINDS[found[1] or "models"], *found.groups()[1:])
        raise Refusal(404, f"no such page: {path}")

    def whoami(self) -> dict[str, Any]:
        account = self.account()
        if account is None:
            raise Refusal(401, "Invalid username or password.")
        token: dict[str, Any] = {"displayName": "canting", "role": account.role}
        if account.role == "fineGrained":
            entity = {"_id": "1", "type": "user", "name": account.name}
            scoped = [{"entity": entity, "permissions": list(account.permissions)}]
            token["fineGrained"] = {"canReadGatedRepos": False, "global": [], "scoped": scoped}
        organisations = [{"type": "org", "name": name, "roleInOrg": "write"} for name in account.organisations]
        auth = {"type": "access_token", "accessToken": token}
        return {"type": "user", "name": account.name, "orgs": organisations, "auth": auth}

    def create(self, asked: dict[str, Any]) -> dict[str, str]:
        account = self.account()
        owner = asked.get("organization") or (account.name if account else "")
        self.writer(owner)
        kind, name = asked.get("type") or "model", f"{owner}/{asked['name']}"
        if (kind, name) in self.hub.repositories:
            raise Refusal(409, f"You already created this {kind} repo: {name}")
        if kind == "space" and not asked.get("sdk"):
            raise Refusal(400, "a Space needs an sdk")
        repository = Repository(asked.get("visibility", "public"), asked.get("sdk"))
        repository.add("initial commit", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self.hub.repositories[kind, name] = repository
        return {"url": f"{self.hub.url}/{'spaces/' if kind == 'space' else ''}{name}", "name": name}

    def worker(self, owner: str) -> Account:
        """Who asks, if they may run jobs as ``owner``."""
        account = self.account()
        if account is None:
            raise Refusal(401, "Invalid username or password.")
        may = account.role == "write" or "job.write" in account.permissions
        if not may or owner not in (account.name, *account.organisations):
            raise Refusal(403, "Forbidden: missing permissions: job.write")
        return account

    def job(self, owner: str, name: str) -> Job:
        self.worker(owner)
        if name not in self.hub.jobs or self.hub.jobs[name].owner != owner:
            raise Refusal(404, "Job not found")
        return self.hub.jobs[name]

    def jobs(self, owner: str, name: str | None, cancel: str | None, body: bytes) -> Any:
        """Start a job, list them by label, look at one, or cancel it."""
        if name:
            job = self.job(owner, name)
            if cancel:
                if job.ended:
                    raise Refusal(400, "Job is not running")
                job.end("CANCELED")
            return job.described()
        account = self.worker(owner)
        if self.command == "GET":
            labels = [one.split("=") for one in parse_qs(urlsplit(self.path).query).get("label", ())]
            mine = [job for job in self.hub.jobs.values() if job.owner == owner]
            return [job.described() for job in mine if all(job.labels.get(key) == value for key, value in labels)]
        asked = json.loads(body)
        if not account.credit:
            raise Refusal(402, "Pre-paid credit balance is insufficient")
        if asked["flavor"] not in FLAVORS:
            raise Refusal(400, f'"flavor" must be one of {", ".join(FLAVORS)}')
        job = Job(owner, asked, f"{len(self.hub.jobs):024x}", self.hub.instead)
        self.hub.jobs[job.id] = job
        job.start()
        return job.described()

    def stream(self, job: Job, fault: Fault | None) -> None:
        """A job's log as server-sent events from its beginning, until it ends or breaks off on purpose."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def chunk(data: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            chunk(b'data: {"data": "===== Job started at 2026-01-02 =====", "timestamp": "2026-01-02T03:04:05Z"}\n\n')
            for number, line in enumerate(job.lines()):
                if fault and fault.what == "half" and number == 1:
                    self.close_connection = True
                    self.connection.close()
                    return
                event = {"data": line, "timestamp": "2026-01-02T03:04:05.000Z"}
                chunk(f"data: {json.dumps(event)}\n\n".encode())
            chunk(b"")

    def validate(self, card: str) -> tuple[int, Any, dict[str, str]]:
        stated = re.search(r"^license: *(.*)$", card, re.MULTILINE)
        if stated and stated[1] not in LICENCES:
            return 400, {"errors": [{"message": f'"license" must be one of {", ".join(LICENCES)}'}], "warnings": []}, {}
        return 200, {"errors": [], "warnings": []}, {}

    def api(self, kind: str, name: str, rest: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        repository = self.visible(kind, name)
        word, _, rest = rest.partition("/")
        if word in ("", "revision"):
            return 200, self.info(kind, name, repository, rest or "main"), {}
        if word == "tree":
            commit = self.revision(repository, rest.split("/")[0])
            return (
                200,
                [{"type": "file", "oid": one["blobId"], "path": one["rfilename"], **one} for one in commit[1]],
                {},
            )
        if word == "commits":
            return 200, [self.line(commit, title) for commit, title, _ in reversed(repository.commits)], {}
        self.writer(name.split("/")[0])
        if word == "settings":
            repository.visibility = json.loads(body)["visibility"]
            return 200, {}, {}
        if word == "preupload":
            files = [self.preupload(repository, one) for one in json.loads(body)["files"]]
            return 200, {"files": files}, {}
        if word == "commit":
            commit = self.commit(repository, [json.loads(line) for line in body.splitlines()])
            url = f"{self.hub.url}/{name}/commit/{commit}"
            return 200, {"success": True, "commitOid": commit, "commitUrl": url}, {}
        raise Refusal(404, f"no such page: {word}")

    def line(self, commit: str, title: str) -> dict[str, Any]:
        date = "2026-01-02T03:04:05.000Z"
        return {"id": commit, "title": title, "message": "", "authors": [{"user": "ratna"}], "date": date}

    def revision(self, repository: Repository, revision: str) -> tuple[str, list[dict[str, Any]]]:
        found = repository.at(revision)
        if found is None:
            raise Refusal(404, "Invalid rev id", "RevisionNotFound")
        listed = []
        for path, content in sorted(found[1].items()):
            one: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": blob_id(content)}
            if is_large(path, len(content)):
                digest = hashlib.sha256(content).hexdigest()
                one["blobId"] = blob_id(digest.encode())
                one["lfs"] = {"sha256": digest, "oid": digest, "size": len(content), "pointerSize": 134}
            listed.append(one)
        return found[0], listed

    def info(self, kind: str, name: str, repository: Repository, revision: str) -> dict[str, Any]:
        commit, files = self.revision(repository, revision)
        private = repository.visibility == "private"
        found = {"_id": "1", "id": name, "sha": commit, "private": private, "tags": [], "siblings": files}
        return found | ({"sdk": repository.sdk} if kind == "space" else {"modelId": name})

    def preupload(self, repository: Repository, asked: dict[str, Any]) -> dict[str, Any]:
        path = asked["path"]
        large = is_large(path, asked["size"])
        known = repository.files.get(path)
        oid = None if known is None else hashlib.sha256(known).hexdigest() if large else blob_id(known)
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["oid"] in self.hub.large:
            return asked
        return asked | {"actions": {"upload": {"href": f"{self.hub.storage}/{asked['oid']}"}}}

    def storage(self, oid: str, body: bytes) -> tuple[int, Any, dict[str, str]]:
        if self.command == "PUT":
            if "Content-Length" not in self.headers:
                raise Refusal(411, "Length Required")
            if hashlib.sha256(body).hexdigest() != oid:
                raise Refusal(400, "the content is not what its SHA-256 says")
            self.hub.large[oid] = body
            return 200, b"", {}
        content = self.hub.large[oid]
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            part = content[int(found[1]) :]
            return 206, part, {"Content-Range": f"bytes {found[1]}-{len(content) - 1}/{len(content)}"}
        return 200, content, {}

    def commit(self, repository: Repository, lines: list[dict[str, Any]]) -> str:
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, repository.head):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.files)
        for line in lines[1:]:
            path = line["value"]["path"]
            if line["key"] == "file":
                files[path] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                if line["value"]["oid"] not in self.hub.large:
                    raise Refusal(400, f"{path} was never uploaded")
                files[path] = self.hub.large[line["value"]["oid"]]
            elif path in files:
                del files[path]
            else:
                raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        return repository.add(header["summary"], files)

    def resolve(self, kind: str, name: str, revision: str, path: str) -> tuple[int, Any, dict[str, str]]:
        found = self.visible(kind, name).at(revision)
        if found is None:
            raise Refusal(404, "Invalid rev id", "RevisionNotFound")
        commit, files = found
        if path not in files:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        content = files[path]
        headers = {"X-Repo-Commit": commit}
        if is_large(path, len(content)):
            digest = hashlib.sha256(content).hexdigest()
            self.hub.large[digest] = content
            linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            return 302, b"", headers | linked | {"Location": f"{self.hub.storage}/{digest}"}
        return 200, content, headers | {"ETag": f'"{blob_id(content)}"'}
