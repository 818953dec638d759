"""A real HTTP server that says what a test wrote down, answer after answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from k2_client import K2, Patience

KEY = "k2_0123456789abcdef"


@dataclass(frozen=True)
class Said:
    """One answer. ``cut``: the connection is closed when so many bytes of the body are out."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class Asked:
    """What came in."""

    lines: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


def problem(status: int, code: str, detail: str = "because. Do this.", **headers: str) -> Said:
    body = {"status": status, "code": code, "detail": detail, "title": "T", "type": "t"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(status, json.dumps(body).encode(), named)


def rows(*found: object, **meta: object) -> Said:
    return Said(200, json.dumps({"data": found, "meta": meta}).encode())


@contextmanager
def scripted(*answers: Said) -> Iterator[tuple[str, Asked]]:
    """The address, and what was asked there. The last answer is given again and again."""
    asked = Asked()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answers, asked))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def asking(
    *answers: Said, slept: list[float] | None = None, attempts: int = 6
) -> Iterator[tuple[K2, Asked]]:
    """A client that is given these answers, and what it asked; it waits in ``slept`` alone."""
    sleep = ([] if slept is None else slept).append
    patience = Patience(attempts=attempts)
    with (
        scripted(*answers) as (address, asked),
        K2(address, KEY, patience=patience, sleep=sleep) as k2,
    ):
        yield k2, asked


def _handler(answers: Sequence[Said], asked: Asked) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            said = answers[min(len(asked.lines), len(answers) - 1)]
            asked.lines.append(f"{self.command} {self.path}")
            asked.headers.append(dict(self.headers))
            asked.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body[: said.cut])
            self.close_connection = said.cut is not None

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    return Handler
