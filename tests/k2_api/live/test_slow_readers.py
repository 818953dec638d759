from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from k2_api.live.settings import LiveSettings
from tests.k2_api.live.hand_fed import Served, filled_lake, ids, served
from tests.k2_api.live.sockets import talk
from tests.services import wait_until

SLOW = 200
# More than their queues and what the kernel keeps for a reader.
BATCHES, ROWS = 60, 20
KERNEL_BYTES = 8_192


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = LiveSettings(connections_of_key=SLOW + 10, queue_messages=20, close_within_s=0.5)
    lake = filled_lake(tmp_path_factory.mktemp("slow"))
    with served(lake, settings, kernel_bytes=KERNEL_BYTES) as running:
        yield running


class Unread:
    """A reader that subscribes and then reads nothing: its end of the connection fills up."""

    def __init__(self, server: Served) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", server.port))
        self.protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{server.port}/v1/live"))
        request = self.protocol.connect()
        request.headers.update(server.headers)
        self.protocol.send_request(request)
        self._send()
        while self.protocol.state is State.CONNECTING:
            self.protocol.receive_data(self.socket.recv(4_096))
            [response] = self.protocol.events_received() or [None]
        assert isinstance(response, Response)
        self.protocol.send_text(
            b'{"op":"subscribe","channel":"trades","exchange":"binance","symbol":"BTC-USDT"}'
        )
        self._send()

    def read(self) -> list[dict[str, Any]]:
        """All messages until the connection is closed."""
        found: list[dict[str, Any]] = []
        while self.protocol.close_rcvd is None and (data := self.socket.recv(65_536)):
            self.protocol.receive_data(data)
            found += [
                json.loads(event.data)
                for event in self.protocol.events_received()
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT
            ]
        return found

    def _send(self) -> None:
        for data in self.protocol.data_to_send():
            self.socket.sendall(data)


def test_two_hundred_readers_that_do_not_read_delay_nobody_and_are_let_go(server: Served) -> None:
    async def run() -> None:
        late = []
        async with talk(server) as client:
            await client.subscribe()
            for _ in range(BATCHES):
                prints = server.fed.trades(ROWS)
                began = time.monotonic()
                await asyncio.to_thread(server.fed.give, prints)
                assert ids(await client.rows(ROWS)) == [p.trade_id for p in prints]
                late.append(time.monotonic() - began)
        assert sorted(late)[int(BATCHES * 0.99) - 1] < 5

    with ExitStack() as stack:
        for _ in range(SLOW):
            stack.callback(Unread(server).socket.close)
        wait_until(lambda: server.hub.streams == SLOW, "two hundred subscriptions")
        asyncio.run(run())
        wait_until(lambda: server.hub.streams == 0, "the end of the slow ones")
        wait_until(lambda: server.hub.connections == 0, "the end of their connections")


def test_a_reader_that_was_too_slow_is_told_and_resumes_with_its_cursor(server: Served) -> None:
    reader = Unread(server)
    wait_until(lambda: server.hub.streams == 1, "the subscription")
    given = []
    while server.hub.streams:
        prints = server.fed.trades(ROWS)
        given += [p.trade_id for p in prints]
        server.fed.give(prints)
    subscribed, *messages = reader.read()
    reader.socket.close()
    closed = reader.protocol.close_rcvd
    assert closed is not None
    assert (closed.code, closed.reason) == (1013, "too_slow, resume with cursor")
    found = ids(messages)
    assert len(found) < len(given)

    async def resume(cursor: str) -> None:
        async with talk(server) as client:
            await client.subscribe(cursor=cursor)
            while len(found) < len(given):
                found.extend(ids([await client.hear()]))

    asyncio.run(resume(messages[-1]["cursor"] if messages else subscribed["cursor"]))
    assert found == given
