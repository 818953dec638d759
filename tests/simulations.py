"""A simulator in a thread of its own, and frames off its sockets as bronze would hold them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from websockets.asyncio.client import connect

from k2_feeds.adapters import adapter
from k2_feeds.simulator.exchange import Simulator
from k2_feeds.simulator.server import serve
from k2_market.kinds import Kind
from tests.frames import frame_table


@contextmanager
def simulator(symbols: Sequence[str], rate: float) -> Iterator[Simulator]:
    """Runs until the context ends; its state may be looked at and changed from here."""
    loop, started = asyncio.new_event_loop(), threading.Event()
    running: list[Simulator] = []
    stop = asyncio.Event()

    async def run() -> None:
        async with serve(symbols=symbols, rate=rate) as served:
            running.append(served)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert started.wait(20)
    yield running[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def record(
    endpoint: str, exchange: str, symbol: str, until: Callable[[list[bytes]], bool]
) -> list[tuple[bytes, int]]:
    """The frames of one connection with their times of receipt, until there are enough."""

    async def listen() -> list[tuple[bytes, int]]:
        venue = adapter(exchange)
        frames: list[tuple[bytes, int]] = []
        async with connect(venue.url([symbol], Kind.TRADES, endpoint), proxy=None) as socket:
            for message in venue.subscribe([symbol], Kind.TRADES):
                await socket.send(message)
            while not until([payload for payload, _ in frames]):
                payload = await asyncio.wait_for(socket.recv(decode=False), 20)
                frames.append((bytes(payload), time.time_ns() // 1000))
        return frames

    return asyncio.run(listen())


def as_received(
    frames: Sequence[tuple[bytes, int]], exchange: str, connection: int = 7, **more: Any
) -> pa.Table:
    """The same as live frames of one connection, in order."""
    table = frame_table(frames, exchange=exchange, **more)
    told = {
        "connection_id": pa.array([connection] * len(frames), pa.int64()),
        "origin": pa.array(["live"] * len(frames), pa.string()),
    }
    for name, column in told.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), column)
    return table
