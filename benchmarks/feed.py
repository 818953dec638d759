"""``python -m benchmarks.feed``: frames per second of one feed process on one core.

From the socket to the acknowledged Kafka record. A sender, in a process of its own on another core
beside the broker, writes frames of Binance's combined trade stream as fast as they are taken. Each
round receives them twice, each time in a new process that is bound to one core: by a bare
``websockets`` loop that drops them, and by the session and producer of ``k2 feed``, which are done
once Kafka has acknowledged every frame.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from benchmarks import report
from benchmarks.figures import Figure, Progress
from benchmarks.market import EXCHANGE, SYMBOLS, Market
from k2_feeds.adapters import adapter
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.lasting import LastingProducer
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_feeds.live.connection import Connection, SessionStatus
from k2_feeds.live.router import FrameRouter
from k2_feeds.live.session import addresses
from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind

RESULTS = Path(__file__).parent / "results" / "feed.json"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
MARK = "feed figures"
TO_REACH = 20_000
_AT_ONCE = 500
_WANTED = [name for _, name, _, _ in SYMBOLS]


def measure(frames: int, rounds: int, folder: Path, tell: Progress) -> list[Figure]:
    """``rounds`` times ``frames`` frames, received bare and by a feed."""
    bare, fed = [], []
    with start_broker(folder / "broker") as broker, _sending(frames) as endpoint:
        _bind(broker.process.pid, 1)
        for number in range(rounds):
            tell(f"round {number + 1} of {rounds}: bare")
            bare.append(frames / _alone(_receive, endpoint))
            tell(f"round {number + 1} of {rounds}: feed")
            before = _held(broker.settings)
            fed.append(frames / _alone(_feed, endpoint, broker.settings))
            # The answer to the subscription is kept as well.
            if _held(broker.settings) - before != frames + 1:
                raise InvariantBroken(f"Kafka holds {_held(broker.settings) - before} new frames")
    ratio = [f / b for f, b in zip(fed, bare, strict=True)]
    return [
        Figure("bare websockets loop", "frames/s", bare),
        Figure("socket to acknowledged record", "frames/s", fed, at_least=TO_REACH),
        Figure("feed / bare loop", "ratio", ratio),
    ]


@contextmanager
def _sending(frames: int) -> Iterator[str]:
    """A server that sends so many frames to each client that subscribes, then closes."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(frames, theirs), daemon=True)
    process.start()
    try:
        yield f"ws://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(frames: int, out: Pipe) -> None:
    _bind(0, 1)
    payloads = [frame.payload for frame, _ in Market(date(2024, 8, 8)).frames(0, frames)]
    written = [Frame(Opcode.TEXT, payload).serialize(mask=False) for payload in payloads]
    parts = [b"".join(written[at : at + _AT_ONCE]) for at in range(0, frames, _AT_ONCE)]

    async def attend(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"result":null,"id":1}')
        for part in parts:
            connection.transport.write(part)
            await connection.drain()

    async def run() -> None:
        async with serve(attend, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
            out.send(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    asyncio.run(run())


def _receive(out: Pipe, endpoint: str) -> None:
    async def run() -> float:
        async with connect(endpoint, proxy=None) as socket:
            await socket.send("go")
            await socket.recv(decode=False)
            started = time.perf_counter()
            try:
                while True:
                    await socket.recv(decode=False)
            except ConnectionClosed:
                return time.perf_counter() - started

    out.send(asyncio.run(run()))


def _feed(out: Pipe, endpoint: str, settings: KafkaSettings) -> None:
    producer = LastingProducer(settings, EXCHANGE, Kind.TRADES)
    router = FrameRouter(adapter(EXCHANGE), Kind.TRADES, producer)
    (url,) = addresses(router, _WANTED, [endpoint])

    async def poll() -> None:
        while True:
            await asyncio.sleep(0.1)
            producer.poll()

    async def run() -> float:
        polling = asyncio.create_task(poll())
        started = time.perf_counter()
        try:
            await Connection(router, _WANTED, url, SessionStatus()).run()
        except ConnectionClosed:
            polling.cancel()
        while producer.queued:
            producer.wait()
        return time.perf_counter() - started

    out.send(asyncio.run(run()))


def _alone(work: Callable[..., None], *arguments: object) -> float:
    """The seconds that the work tells, in a process of its own on one core."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_on_one_core, args=(work, theirs, *arguments))
    process.start()
    seconds: float = ours.recv()
    process.join()
    return seconds


def _on_one_core(work: Callable[..., None], *arguments: object) -> None:
    _bind(0, 0)
    work(*arguments)


def _bind(pid: int, core: int) -> None:
    """Bind a process (0 is this one) to a core, where the system can and has so many."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0)) if pid == 0 else sorted(os.sched_getaffinity(pid))
        os.sched_setaffinity(pid, {cores[min(core, len(cores) - 1)]})


def _held(settings: KafkaSettings) -> int:
    with TopicReader(settings, raw_topic(Kind.TRADES, EXCHANGE)) as reader:
        return sum(high for _, high in reader.watermarks().values())


def main(
    frames: Annotated[int, typer.Option(help="Frames of a round.", min=1_000)] = 200_000,
    rounds: Annotated[int, typer.Option(help="How often each is measured.", min=1)] = 5,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = RESULTS,
) -> None:
    """Measure one feed process on this machine, from the socket to acknowledged records."""
    console = Console(width=110) if not sys.stdout.isatty() else Console()
    with tempfile.TemporaryDirectory(prefix="k2-bench-") as folder, console.status("") as status:
        figures = measure(frames, rounds, Path(folder), lambda text: status.update(f"{text} ..."))
    console.print(report.table(figures))
    report.write(output, figures, {"frames": frames, "rounds": rounds})
    if output == RESULTS:
        report.document(PAGE, figures, MARK)
    console.print(f"kept in {os.path.relpath(output)}")


_SPAWN = multiprocessing.get_context("spawn")

if __name__ == "__main__":
    typer.run(main)
