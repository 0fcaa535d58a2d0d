"""A hub on the loopback: the endpoints that the `huggingface_hub` client asks for information, listings and files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass
class Repository:
    """One repository. `gated`: who asks without the token `yes` is turned away from its files."""

    files: dict[str, bytes]
    sha: str = "a" * 40
    branches: tuple[str, ...] = ("main",)
    gated: bool = False
    licence: str = "mit"
    card: dict[str, Any] = field(default_factory=dict)


@dataclass
class Hub:
    """Repositories by (kind, name), kind being `models` or `datasets`; and what was asked."""

    repositories: dict[tuple[str, str], Repository]
    asked: list[str] = field(default_factory=list)
    endpoint: str = ""


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """The hub answers at `hub.endpoint` until the block is left."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.asked.append(f"{self.command} {self.path.partition('?')[0]}")
            status, headers, body = answer(hub, self.path.partition("?")[0], self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(hub: Hub, path: str, authorization: str) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body)."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    api = parts[0] == "api"
    kind = parts[1] if api else "datasets" if parts[0] == "datasets" else "models"
    rest = parts[2:] if api else parts[1:] if kind == "datasets" else parts
    repository = hub.repositories.get((kind, "/".join(rest[:2])))
    if repository is None:
        return error(401 if api else 404, "RepoNotFound")
    what, *tail = rest[2:] or ["revision", "main"]
    if what == "auth-check":
        return (200, {}, b"{}") if entitled(repository, authorization) else error(403, "GatedRepo")
    if what in ("revision", "tree", "resolve") and tail[0] not in (*repository.branches, repository.sha):
        return error(404, "RevisionNotFound")
    if what == "revision":
        about = {
            "id": "/".join(rest[:2]), "sha": repository.sha, "private": False,
            "gated": "auto" if repository.gated else False, "tags": [f"license:{repository.licence}"],
            "cardData": {"license": repository.licence, **repository.card},
            "siblings": [{"rfilename": name} for name in repository.files], "downloads": 0, "likes": 0,
        }  # fmt: skip
        return 200, {"Content-Type": "application/json"}, json.dumps(about).encode()
    if what == "tree":
        listed = [
            {"type": "file", "path": name, "size": len(content), "oid": blob(content)}
            for name, content in repository.files.items()
        ]
        return 200, {"Content-Type": "application/json"}, json.dumps(listed).encode()
    content = repository.files.get("/".join(tail[1:]))
    if not entitled(repository, authorization):
        return error(403, "GatedRepo")
    if content is None:
        return error(404, "EntryNotFound")
    return 200, {"ETag": f'"{blob(content)}"', "X-Repo-Commit": repository.sha}, content


def entitled(repository: Repository, authorization: str) -> bool:
    return not repository.gated or authorization == "Bearer yes"


def blob(content: bytes) -> str:
    """The id git gives to a file."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def error(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"X-Error-Code": code, "X-Error-Message": code}, b"{}"
