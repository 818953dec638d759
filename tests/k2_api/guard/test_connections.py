"""A connection may be slow, rude or endless; the others are answered, and the server ends."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from k2_api.app import create_app
from k2_api.guard import connections
from k2_api.guard.connections import MAX_HEAD
from k2_api.serving import STOP_WITHIN_S, Server
from k2_lake.catalog import LakeSettings
from k2_lake.scan import Files
from k2_market.records import TRADE
from tests.keyed import fast_key
from tests.services import wait_until

NOTHING = Files(TRADE.schema, ())
MINUTES = "select count(*) from range(10000000) a, range(100000) b where a.range * b.range % 7 = 3"


def chunks(begun: threading.Event) -> Iterator[bytes]:
    begun.set()
    while True:
        yield b"x" * 65536


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    settings = LakeSettings.from_environment({}, tmp_path_factory.mktemp("served"))
    app = create_app(settings)
    app.state.key = fast_key(settings)
    app.state.running, app.state.begun = threading.Event(), threading.Event()

    @app.get("/v1/slow")
    def slow() -> None:
        app.state.running.set()
        app.state.reader.run(MINUTES, NOTHING, {}, None)

    @app.get("/v1/endless")
    def endless() -> StreamingResponse:
        return StreamingResponse(chunks(app.state.begun))

    return app


@contextmanager
def served(app: FastAPI) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = Server(app)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        wait_until(lambda: running.started, "the server")
        try:
            yield listening.getsockname()
        finally:
            running.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def address(app: FastAPI) -> Iterator[tuple[str, int]]:
    with served(app) as address:
        yield address


def request(app: FastAPI, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: k2\r\nX-API-Key: {app.state.key}\r\n\r\n".encode()


def problem(connection: socket.socket, status: int) -> dict[str, Any]:
    """The problem that the connection is answered with before it is closed."""
    with connection, connection.makefile("rb") as answer:
        assert f" {status} ".encode() in answer.readline()
        while answer.readline().strip():
            pass
        found: dict[str, Any] = json.loads(answer.read())
    assert found["status"] == status
    return found


def is_answered(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: k2\r\nConnection: close\r\n\r\n")
        with connection.makefile("rb") as answer:
            return b" 200 " in answer.readline()


def test_headers_without_end_are_431(address: tuple[str, int]) -> None:
    connection = socket.create_connection(address, timeout=20)
    connection.sendall(b"GET / HTTP/1.1\r\n")
    line = b"X-Filler: " + b"x" * 1000 + b"\r\n"
    for _ in range(MAX_HEAD // len(line) + 1):
        connection.sendall(line)
    assert problem(connection, 431)["code"] == "headers_too_large"


def test_what_is_no_http_is_a_problem_too(address: tuple[str, int]) -> None:
    connection = socket.create_connection(address, timeout=20)
    connection.sendall(b"\x16\x03\x01\x02\x00\r\n\r\n")
    assert problem(connection, 400)["code"] == "bad_request"


def test_a_request_that_trickles_in_is_408_and_others_are_answered(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_WITHIN_S", 0.3)
    with served(app) as address:
        silent = socket.create_connection(address, timeout=20)
        trickling = socket.create_connection(address, timeout=20)
        trickling.sendall(b"GET / HTTP/1.1\r\nX-A")
        assert is_answered(address)
        assert problem(trickling, 408)["code"] == "request_timeout"
        assert problem(silent, 408)["code"] == "request_timeout"


def test_more_connections_than_are_served_are_told_so(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    with served(app) as address:
        taken = [socket.create_connection(address, timeout=20) for _ in range(2)]
        for connection in taken:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: k2\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        third = socket.create_connection(address, timeout=20)
        assert problem(third, 503)["code"] == "overloaded"
        for connection in taken:
            connection.close()
        wait_until(lambda: is_answered(address), "a place")


def test_a_client_that_takes_nothing_of_its_answer_is_let_go_of(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TAKEN_WITHIN_S", 0.3)
    app.state.begun.clear()
    with served(app) as address, socket.create_connection(address, timeout=20) as connection:
        connection.sendall(request(app, "/v1/endless"))
        assert app.state.begun.wait(20)
        wait_until(lambda: not app.state.guard.places.taken, "the place")
        assert is_answered(address)


def test_a_client_that_vanishes_stops_what_was_made_for_it(
    app: FastAPI, address: tuple[str, int]
) -> None:
    app.state.begun.clear()
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(request(app, "/v1/endless"))
        assert connection.recv(100)
        assert app.state.guard.places.taken == 1
    wait_until(lambda: not app.state.guard.places.taken, "the place")


def test_it_stops_within_five_seconds_whatever_is_in_work(app: FastAPI) -> None:
    app.state.running.clear()
    app.state.begun.clear()
    with served(app) as address:
        asking = [socket.create_connection(address, timeout=20) for _ in range(2)]
        asking[0].sendall(request(app, "/v1/slow"))
        asking[1].sendall(request(app, "/v1/endless"))
        assert app.state.running.wait(20)
        assert app.state.begun.wait(20)
        began = time.monotonic()
    assert time.monotonic() - began < STOP_WITHIN_S + 4
    for connection in asking:
        connection.close()
