"""A small Hub on this computer, which the real client of huggingface_hub talks to: for tests without a network."""

import base64
import hashlib
import json
import re
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

USERS = {"hf_alice": "alice", "hf_bob": "bob"}  # by token
LARGE_FILES = (".safetensors", ".bin", ".parquet")
REPOSITORY = r"/api/(?P<kind>model|dataset)s/(?P<name>[^/]+/[^/]+)"
DATE = "2026-01-01T00:00:00.000Z"


class RefusedError(Exception):
    """Answers a request with an error, in the headers from which the client makes an exception."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message, **headers}


@dataclass
class Fault:
    """
    Spoils the next requests of a kind.

    Args:
        method (`str`): Of the requests.
        path (`str`): Regular expression that is searched for in their paths.
        kind (`str`):
            `"unavailable"` (answers 503), `"cut"` (ends the connection in the middle of what is sent, of an upload's
            body or a download's), `"short"` (leaves out the second half of a download) or `"alter"` (changes a byte).
        times (`int`, defaults to 1): How many requests.
    """

    method: str
    path: str
    kind: str
    times: int = 1


@dataclass
class Commit:
    sha: str
    message: str
    files: dict[str, bytes]
    parent: "Commit | None" = None


@dataclass
class Repository:
    private: bool
    refs: dict[str, Commit]  # "main", other branches, and "refs/pr/1", ...
    commits: dict[str, Commit] = field(default_factory=dict)

    def add(self, ref: str, message: str, files: dict[str, bytes]) -> Commit:
        commit = Commit(uuid.uuid4().hex + "0" * 8, message, files, self.refs.get(ref))
        self.refs[ref] = self.commits[commit.sha] = commit
        return commit

    def history(self, ref: str = "main") -> list[Commit]:
        """Returns the commits of a branch, the first one first."""
        commits: list[Commit] = []
        commit: Commit | None = self.refs[ref]
        while commit is not None:
            commits.insert(0, commit)
            commit = commit.parent
        return commits


def is_large(path: str) -> bool:
    return path.endswith(LARGE_FILES)


def find_oid(path: str, content: bytes) -> str:
    """Returns what identifies a file's content: SHA-256 of a large file, git's SHA-1 of another."""
    if is_large(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def describe(path: str, content: bytes) -> dict[str, Any]:
    oid = find_oid(path, content)
    large = {"lfs": {"oid": oid, "size": len(content), "pointerSize": 134}} if is_large(path) else {}
    return {"type": "file", "path": path, "oid": oid, "size": len(content), **large}


class LoopbackHub:
    """
    Holds repositories and serves them at `url`, from the beginning: whoever asks an empty one is told so at once.
    """

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.hub = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.lock = threading.Lock()
        self.reset()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """Forgets everything."""
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large_files: dict[str, bytes] = {}  # whose checksum was verified, by oid
        self.uploads: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, str]] = []  # method, path, range

    def take_fault(self, method: str, path: str) -> str | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path, unquote(path)):
                    fault.times -= 1
                    return fault.kind
        return None

    def count(self, method: str, path: str) -> int:
        """Counts the requests whose path matches."""
        return sum(given == method and bool(re.search(path, unquote(where))) for given, where, _ in self.requests)


class Handler(BaseHTTPRequestHandler):
    """Answers one request with the method whose route in `ROUTES` matches it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.hub: LoopbackHub = self.server.hub  # type: ignore[attr-defined]
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        self.query = {name: values[-1] for name, values in parse_qs(query).items()}
        self.fault = self.hub.take_fault(self.command, path)
        self.body = self._read_body()
        if self.fault == "cut" and self.command in ("PUT", "POST"):
            self._hang_up()
            return
        try:
            if self.fault == "unavailable":
                raise RefusedError(503, "The Hub is being repaired.")
            for method, pattern, name in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and self.command in method.split():
                    parts = {key: unquote(value or "") for key, value in match.groupdict().items()}
                    with self.hub.lock:
                        status, body, headers = getattr(self, name)(**parts)
                    break
            else:
                raise RefusedError(404, f"There is nothing at {path}.")
        except RefusedError as refused:
            status, body, headers = refused.status, {"error": str(refused)}, refused.headers
        self._reply(status, body, headers)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _read_body(self) -> bytes:
        parts: Iterable[int] = [int(self.headers.get("Content-Length", 0))]
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = iter(lambda: int(self.rfile.readline(), 16), 0)
        body = b""
        for size in parts:
            if self.fault == "cut" and self.command == "PUT":
                return self.rfile.read(size // 2)
            body += self.rfile.read(size)
            if self.headers.get("Transfer-Encoding") == "chunked":
                self.rfile.readline()
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.rfile.readline()
        return self._alter(body) if self.command == "PUT" else body

    def _alter(self, content: bytes) -> bytes:
        return content[:-1] + bytes([content[-1] ^ 1]) if self.fault == "alter" and content else content

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(2)

    def _reply(self, status: int, body: Any, headers: dict[str, str]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        is_download = self.command == "GET" and isinstance(body, bytes)
        if is_download:
            content = self._alter(content)
            content = content[: len(content) // 2] if self.fault == "short" else content
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if is_download and self.fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            self._hang_up()
        elif self.command != "HEAD":
            self.wfile.write(content)

    # What the routes look up.

    def _user(self) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in USERS:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return USERS.get(token)

    def _find(self, kind: str, name: str, write: bool = False) -> Repository:
        user = self._user()
        repository = self.hub.repositories.get((kind, name))
        is_owner = user == name.split("/")[0]
        if repository is None or (repository.private and not is_owner):
            raise RefusedError(404 if user else 401, "Repository not found", "RepoNotFound")
        if write and not is_owner:
            raise RefusedError(403 if user else 401, f"{user or 'Nobody'} may not write to {name}")
        return repository

    def _commit(self, kind: str, name: str, revision: str) -> Commit:
        repository = self._find(kind, name)
        commit = repository.refs.get(revision or "main") or repository.commits.get(revision)
        if commit is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # What the routes answer: the status, the body and headers.

    def who(self) -> tuple[int, Any, dict[str, str]]:
        user = self._user()
        if user is None:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return 200, {"type": "user", "name": user, "orgs": [], "auth": {"type": "access_token"}}, {}

    def accept_yaml(self) -> tuple[int, Any, dict[str, str]]:
        return 200, {"errors": [], "warnings": []}, {}

    def create(self) -> tuple[int, Any, dict[str, str]]:
        given, user = json.loads(self.body), self._user()
        owner = given.get("organization") or user
        if user is None or owner != user:
            raise RefusedError(403 if user else 401, f"{user or 'Nobody'} may not create repositories of {owner}")
        key = (given.get("type") or "model", f"{owner}/{given['name']}")
        exists = key in self.hub.repositories
        if not exists:
            self.hub.repositories[key] = Repository(given.get("visibility") == "private", {})
            self.hub.repositories[key].add("main", "initial commit", {".gitattributes": b""})
        url = f"{self.hub.url}/{'datasets/' if key[0] == 'dataset' else ''}{key[1]}"
        return (409 if exists else 200), {"url": url, "name": key[1]}, {}

    def inform(self, kind: str, name: str, revision: str = "") -> tuple[int, Any, dict[str, str]]:
        commit = self._commit(kind, name, revision)
        siblings = [{"rfilename": path} for path in commit.files]
        described = {"id": name, "sha": commit.sha, "private": self._find(kind, name).private, "siblings": siblings}
        return 200, {**described, "lastModified": DATE, "createdAt": DATE, "tags": [], "downloads": 0, "likes": 0}, {}

    def list_refs(self, kind: str, name: str) -> tuple[int, Any, dict[str, str]]:
        named: dict[str, list[dict[str, str]]] = {"branches": [], "pullRequests": [], "tags": [], "converts": []}
        for ref, commit in self._find(kind, name).refs.items():
            is_request = ref.startswith("refs/pr/")
            full = ref if is_request else f"refs/heads/{ref}"
            entry = {"name": ref.removeprefix("refs/pr/"), "ref": full, "targetCommit": commit.sha}
            named["pullRequests" if is_request else "branches"].append(entry)
        return 200, named, {}

    def list_files(self, kind: str, name: str, revision: str, path: str = "") -> tuple[int, Any, dict[str, str]]:
        commit, entries = self._commit(kind, name, revision), []
        start, folders = f"{path}/" if path else "", set()
        for where, content in commit.files.items():
            if where.startswith(start):
                inner = where.removeprefix(start).split("/")
                folders |= {start + "/".join(inner[:depth]) for depth in range(1, len(inner))}
                entries.append(describe(where, content))
        if not entries:
            raise RefusedError(404, f"{path} does not exist", "EntryNotFound")
        entries += [{"type": "directory", "path": folder, "oid": "0" * 40} for folder in sorted(folders)]
        if self.query.get("recursive", "").lower() != "true":
            entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(start)]
        return 200, entries, {}

    def list_paths(self, kind: str, name: str, revision: str) -> tuple[int, Any, dict[str, str]]:
        files = self._commit(kind, name, revision).files
        entries = []
        for path in parse_qs(self.body.decode())["paths"]:
            if path in files:
                entries.append(describe(path, files[path]))
            elif any(where.startswith(f"{path}/") for where in files):
                entries.append({"type": "directory", "path": path, "oid": "0" * 40})
        return 200, entries, {}

    def branch(self, kind: str, name: str, revision: str) -> tuple[int, Any, dict[str, str]]:
        repository = self._find(kind, name, write=True)
        if revision in repository.refs:
            raise RefusedError(409, f"The branch {revision} exists")
        start = json.loads(self.body or b"{}").get("startingPoint", "")
        repository.refs[revision] = self._commit(kind, name, start)
        return 200, {}, {}

    def choose_modes(self, kind: str, name: str, revision: str) -> tuple[int, Any, dict[str, str]]:
        self._find(kind, name, write="create_pr" not in self.query)
        files, chosen = self._commit(kind, name, revision).files, []
        for path in (entry["path"] for entry in json.loads(self.body)["files"]):
            oid = find_oid(path, files[path]) if path in files else None
            mode = "lfs" if is_large(path) else "regular"
            chosen.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return 200, {"files": chosen}, {}

    def offer_upload(self, kind: str, name: str) -> tuple[int, Any, dict[str, str]]:
        self._find("dataset" if kind else "model", name)
        objects: list[dict[str, Any]] = json.loads(self.body)["objects"]
        for entry in objects:
            if entry["oid"] not in self.hub.large_files:
                place = f"{self.hub.url}/lfs/{entry['oid']}"
                entry["actions"] = {"upload": {"href": place}, "verify": {"href": f"{place}/verify"}}
        return 200, {"transfer": "basic", "objects": objects}, {}

    def upload(self, oid: str) -> tuple[int, Any, dict[str, str]]:
        self.hub.uploads[oid] = self.body
        return 200, {}, {}

    def verify(self, oid: str) -> tuple[int, Any, dict[str, str]]:
        content = self.hub.uploads.pop(oid, b"")
        if hashlib.sha256(content).hexdigest() != oid:
            raise RefusedError(400, f"The checksum of what was uploaded is not {oid}")
        self.hub.large_files[oid] = content
        return 200, {}, {}

    def commit(self, kind: str, name: str, revision: str) -> tuple[int, Any, dict[str, str]]:
        is_request = "create_pr" in self.query
        repository = self._find(kind, name, write=not is_request)
        parent = self._commit(kind, name, revision)
        files, header = dict(parent.files), {}
        for line in (json.loads(line) for line in self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                header = value
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.large_files:
                    raise RefusedError(400, f"The content of {value['path']} was not uploaded")
                files[value["path"]] = self.hub.large_files[value["oid"]]
            else:
                is_folder, where = line["key"] == "deletedFolder", value["path"]
                gone = [path for path in files if path == where or (is_folder and path.startswith(where))]
                for path in gone:
                    del files[path]
        if header.get("parentCommit") not in (None, parent.sha):
            raise RefusedError(412, f"{revision} has changed since {header['parentCommit']}")
        number = 1 + sum(ref.startswith("refs/pr/") for ref in repository.refs)
        if is_request:
            revision = f"refs/pr/{number}"
            repository.refs[revision] = parent
        made = repository.add(revision, header["summary"], files)
        place = f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        answer = {"commitUrl": f"{place}/commit/{made.sha}", "commitOid": made.sha, "success": True}
        return 200, {**answer, "pullRequestUrl": f"{place}/discussions/{number}" if is_request else None}, {}

    def download(self, kind: str, name: str, revision: str, path: str) -> tuple[int, Any, dict[str, str]]:
        commit = self._commit("dataset" if kind else "model", name, revision)
        if path not in commit.files:
            raise RefusedError(404, f"{path} does not exist", "EntryNotFound", X_Repo_Commit=commit.sha)
        content = commit.files[path]
        etag = f'"{find_oid(path, content)}"'
        headers = {"X-Repo-Commit": commit.sha, "ETag": etag, "Accept-Ranges": "bytes"}
        if is_large(path):
            headers |= {"X-Linked-ETag": etag, "X-Linked-Size": str(len(content))}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return 200, content, headers
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        return 206, content[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}


ROUTES = [
    ("GET", "/api/whoami-v2", "who"),
    ("POST", "/api/validate-yaml", "accept_yaml"),
    ("POST", "/api/repos/create", "create"),
    ("GET", REPOSITORY, "inform"),
    ("GET", REPOSITORY + "/revision/(?P<revision>[^/]+)", "inform"),
    ("GET", REPOSITORY + "/refs", "list_refs"),
    ("GET", REPOSITORY + "/tree/(?P<revision>[^/]+)(/(?P<path>[^/]+))?", "list_files"),
    ("POST", REPOSITORY + "/paths-info/(?P<revision>[^/]+)", "list_paths"),
    ("POST", REPOSITORY + "/branch/(?P<revision>[^/]+)", "branch"),
    ("POST", REPOSITORY + "/preupload/(?P<revision>[^/]+)", "choose_modes"),
    ("POST", REPOSITORY + "/commit/(?P<revision>[^/]+)", "commit"),
    ("POST", "/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+).git/info/lfs/objects/batch", "offer_upload"),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]+)", "upload"),
    ("POST", "/lfs/(?P<oid>[0-9a-f]+)/verify", "verify"),
    ("GET HEAD", "/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "download"),
]

HUB = LoopbackHub()  # the one that `HF_ENDPOINT` names in all tests
