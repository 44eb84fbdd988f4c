"""A stand-in for the model hub on the loopback interface: the part of its HTTP interface that saving and loading use."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
LARGE = (".safetensors", ".bin")


@dataclass
class Repository:
    """Commits by id, oldest first; the last is `main`."""

    private: bool = False
    commits: dict[str, Files] = field(default_factory=dict)

    def commit(self, files: Files) -> str:
        """Add files on top of the last commit, and return the id of the new one."""
        merged = {**(list(self.commits.values())[-1] if self.commits else {}), **files}
        content = b"".join(name.encode() + data for name, data in sorted(merged.items()))
        sha = hashlib.sha1(content + str(len(self.commits)).encode(), usedforsecurity=False).hexdigest()
        self.commits[sha] = merged
        return sha

    def resolve(self, revision: str) -> str | None:
        """A branch or commit id to a commit id."""
        if revision == "main":
            return list(self.commits)[-1]
        return revision if revision in self.commits else None


class HubServer:
    """Serves `repositories` (by `organisation/name`) at `url` from a thread while the context lasts; counts requests in `requests`.

    A download ends early, with the connection, after as many bytes as the first of `cuts` says, which is then taken away; `starts`
    has where each download began. Of large files (`LARGE`) the SHA-256 is stated, as of those that git does not keep.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.cuts: list[int] = []
        self.starts: list[int] = []
        hub = self

        class Handler(_Handler):
            server_state = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def publish(self, name: str, files: Files, *, private: bool = False) -> str:
        """Put files on the hub without going through its interface; returns the commit."""
        return self.repositories.setdefault(name, Repository(private)).commit(files)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: HubServer
    routes = (
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("POST", r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
        ("POST", r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
        ("GET", r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", "info"),
        ("GET", r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?", "tree"),
        ("GET|HEAD", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "resolve"),
    )

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server_state.requests.append(f"{self.command} {path}")
        for method, pattern, name in self.routes:
            match = re.fullmatch(pattern, path)
            if match and self.command in method.split("|"):
                getattr(self, name)(*match.groups())
                return
        self._json({"error": "no such address"}, HTTPStatus.NOT_FOUND)

    do_GET = do_HEAD = do_POST = _route  # noqa: N815 - names that http.server looks up

    def create(self) -> None:
        wanted = json.loads(self.body)
        name = f"{wanted['organization'] or 'me'}/{wanted['name']}"
        known = self.server_state.repositories
        status = HTTPStatus.CONFLICT if name in known else HTTPStatus.OK
        if name not in known:
            known[name] = Repository(private=bool(wanted.get("private")) or wanted.get("visibility") == "private")
            known[name].commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        self._json({"url": f"{self.server_state.url}/{name}", "name": name}, status)

    def validate_yaml(self) -> None:
        self._json({"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        if self._files(name, revision) is not None:
            paths = [file["path"] for file in json.loads(self.body)["files"]]
            self._json({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})

    def commit(self, name: str, revision: str) -> None:
        if self._files(name, revision) is None:
            return
        files: Files = {}
        for line in self.body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
        sha = self.server_state.repositories[name].commit(files)
        self._json({"success": True, "commitOid": sha, "commitUrl": f"{self.server_state.url}/{name}/commit/{sha}"})

    def info(self, name: str, revision: str | None) -> None:
        found = self._files(name, revision or "main")
        if found is not None:
            sha, files = found
            self._json(
                {"id": name, "modelId": name, "sha": sha, "private": False, "tags": [], "siblings": [{"rfilename": f} for f in files]}
            )

    def tree(self, name: str, revision: str) -> None:
        found = self._files(name, revision)
        if found is not None:
            self._json([{"type": "file", "path": path, "size": len(data), "oid": _blob(data)} for path, data in found[1].items()])

    def resolve(self, name: str, revision: str, path: str) -> None:
        found = self._files(name, revision)
        if found is None:
            return
        sha, files = found
        headers = {"X-Repo-Commit": sha}
        if path not in files:
            self._reply(b"", HTTPStatus.NOT_FOUND, {**headers, "X-Error-Code": "EntryNotFound"})
            return
        data = files[path]
        if path.endswith(LARGE):
            headers |= {"X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
        self._download(data, {**headers, "ETag": f'"{_blob(data)}"'})

    def _download(self, data: bytes, headers: dict[str, str]) -> None:
        """All bytes, or those from the first one that was asked for, unless the connection is to break off."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if asked:
            headers |= {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        status = HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK
        cut = None
        if self.command == "GET":
            self.server_state.starts.append(start)
            cut = self.server_state.cuts.pop(0) if self.server_state.cuts else None
        self._reply(data[start:], status, headers, cut=cut)

    def _files(self, name: str, revision: str) -> tuple[str, Files] | None:
        """The commit and files of a revision, or None after an answer that says what is missing."""
        repository = self.server_state.repositories.get(name)
        if repository is None or (repository.private and "Authorization" not in self.headers):
            self._reply(b"{}", HTTPStatus.NOT_FOUND, {"X-Error-Code": "RepoNotFound"})
            return None
        sha = repository.resolve(revision)
        if sha is None:
            self._reply(b"{}", HTTPStatus.NOT_FOUND, {"X-Error-Code": "RevisionNotFound"})
            return None
        return sha, repository.commits[sha]

    def _json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._reply(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def _reply(self, data: bytes, status: HTTPStatus, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
