"""An application that does nothing: what the load's own process can manage is measured with it."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import uvicorn

_BODY = b'{"data":[' + b"0" * 30_000 + b"]}"
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(_BODY)).encode()),
]
_SPAWN = multiprocessing.get_context("spawn")


async def application(scope: dict[str, Any], _: Any, send: Any) -> None:
    """As many bytes as 100 candles have, at once."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})


@contextmanager
def doing_nothing() -> Iterator[int]:
    """The port of that application in a process of its own."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(out: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        out.send(listening.getsockname()[1])
        config = uvicorn.Config(application, log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])
