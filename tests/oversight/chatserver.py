"""A real HTTP server on a loopback socket that speaks OpenAI's chat protocol and says what a test scripted."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Json = dict[str, Any]


class Raw(NamedTuple):
    """An answer below the protocol."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Late(NamedTuple):
    """No answer before this event."""

    event: threading.Event


class Drip(NamedTuple):
    """An answer that begins and never comes to its end: a blank now and then, until this event."""

    event: threading.Event
    every: float = 0.05


Script = Callable[[Json, int], "Json | Raw | Late | Drip"]
"""(request, how many came before it) to what is answered."""


class ChatServer:
    """`requests` are what it was asked, in order; `keys` the authorisations."""

    def __init__(self, script: Script, port: int = 0) -> None:
        self.requests: list[Json] = []
        self.keys: list[str] = []
        self.under_way = self.most_under_way = 0
        guard = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one piece: in two, the second waits for the first to be acknowledged

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with guard:
                    server.requests.append(asked)
                    server.keys.append(self.headers.get("Authorization", ""))
                    before = len(server.requests) - 1
                    server.under_way += 1
                    server.most_under_way = max(server.most_under_way, server.under_way)
                try:
                    said = script(asked, before)
                    if isinstance(said, Late):
                        said.event.wait()
                        said = message("late")
                finally:
                    with guard:
                        server.under_way -= 1
                if isinstance(said, Drip):
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.end_headers()
                    with suppress(OSError):
                        while not said.event.wait(said.every):
                            self.wfile.write(b" ")
                            self.wfile.flush()
                    self.close_connection = True
                    return
                raw = said if isinstance(said, Raw) else Raw(200, json.dumps(said).encode())
                self.send_response(raw.status)
                for name, value in {"Content-Type": "application/json", **raw.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(raw.body)))
                self.end_headers()
                self.wfile.write(raw.body)

            def log_message(self, *_: Any) -> None:
                """Nothing on stderr."""

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"


@contextmanager
def serving(script: Script, port: int = 0) -> Iterator[ChatServer]:
    """A server, until the block ends; on any free port unless told."""
    server = ChatServer(script, port)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def prompt_of(asked: Json) -> str:
    """What the user's turn says."""
    return str(asked["messages"][-1]["content"])


def message(text: str | None, top: Mapping[str, float] | None = None, end: str = "stop", **more: Any) -> Json:
    """A whole answer; `top` are first tokens with their probabilities, for a request that asks for them."""
    choice: Json = {"index": 0, "finish_reason": end, "message": {"role": "assistant", "content": text, **more}}
    if top is not None:
        likeliest = [{"token": t, "logprob": math.log(p), "bytes": None} for t, p in top.items()]
        choice["logprobs"] = {"content": [{**likeliest[0], "top_logprobs": likeliest}], "refusal": None}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def calls(*made: tuple[str, Json | str], text: str = "", end: str = "tool_calls") -> Json:
    """An answer that calls tools; arguments that are text are sent as they are."""
    told = [
        {
            "id": f"call_{i}", "type": "function",
            "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)},
        }
        for i, (name, args) in enumerate(made)
    ]  # fmt: skip
    return message(text, end=end, tool_calls=told)


def error(status: int, text: str = "no", **headers: str) -> Raw:
    """An error as OpenAI's servers tell it."""
    body = {"error": {"message": text, "type": "t", "param": None, "code": None}}
    return Raw(status, json.dumps(body).encode(), {k.replace("_", "-"): v for k, v in headers.items()})
