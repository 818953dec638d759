"""From a frame on the simulator's socket to the trade in ``/v1/trades`` and on ``/v1/live``.

The whole chain runs as in the demo, each part a process: simulator, feed, broker, tables that
follow every few seconds, API. A trade's age when it is seen is told by its own time, which the
simulator takes shortly before it writes the frame: what is measured is no less than what is said.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

from websockets.asyncio.client import connect

from benchmarks.api.load import quantile
from benchmarks.api.run import Run
from benchmarks.api.server import K2, Server, serving
from benchmarks.figures import Figure
from k2_assets.ingest import drain
from k2_cli.supervise import Service, Supervisor, free_port, port_open
from k2_feeds.kafka.broker import FOLDER, start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.parsing.frames import parse
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.gold import merge
from k2_lake.silver import refine
from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind

EXCHANGE, SYMBOL = "binance", "BTC-USDT"
RATE = 20  # trades a second
P99_MS = 1_000.0
_EVERY_S = 0.02
_TABLES_EVERY_S = 5.0
_FIRST_S = 60.0
_HOST = "127.0.0.1"


def measure(run: Run, folder: Path) -> list[Figure]:
    """The ages, in milliseconds, at which trades are seen."""
    with _chain(folder / "fresh") as server:
        key = server.key("fresh")
        run.tell("the first trades")
        run.load.submit(_first, server.port, key).result()
        run.tell(f"ages of trades for {run.sizes.fresh_s:g} s")
        asked = run.load.submit(poll, server.port, key, run.sizes.fresh_s)
        heard = run.load.submit(listen, server.port, key, run.sizes.fresh_s)
        ages = {"/v1/trades": asked.result(), "/v1/live": heard.result()}
    figures = []
    for name, found in ages.items():
        if len(found) < RATE * run.sizes.fresh_s / 4:
            raise InvariantBroken(f"{name} brought {len(found)} trades: the chain does not run")
        figures.append(Figure(f"frame to {name}, p50", "ms", [quantile(found, 0.5)]))
        figures.append(Figure(f"frame to {name}, p99", "ms", [quantile(found, 0.99)], None, P99_MS))
    return figures


def poll(port: int, key: str, seconds: float) -> list[float]:
    """Ask for the newest trades again and again; ages when first seen."""
    asked = {"exchange": EXCHANGE, "symbol": SYMBOL, "order": "desc", "limit": 50}
    server, target = Server(Path(), port, 0), f"/v1/trades?{urlencode(asked)}"
    seen = {r["trade_id"] for r in json.loads(server.get(target, key))["data"]}
    ages, until = list[float](), time.monotonic() + seconds
    while time.monotonic() < until:
        rows = json.loads(server.get(target, key))["data"]
        now = time.time()
        ages += [_age_ms(r, now) for r in rows if r["trade_id"] not in seen]
        seen |= {r["trade_id"] for r in rows}
        time.sleep(_EVERY_S)
    return ages


def listen(port: int, key: str, seconds: float) -> list[float]:
    """Listen to the stream of trades; ages when they come."""
    return asyncio.run(_listen(port, key, seconds))


async def _listen(port: int, key: str, seconds: float) -> list[float]:
    ages: list[float] = []
    address, headers = f"ws://{_HOST}:{port}/v1/live", {"X-API-Key": key}
    async with connect(address, additional_headers=headers) as socket:
        wanted = {"op": "subscribe", "channel": "trades", "exchange": EXCHANGE, "symbol": SYMBOL}
        await socket.send(json.dumps(wanted))
        await socket.recv()
        started = time.time()
        try:
            async with asyncio.timeout(seconds):
                async for text in socket:
                    message, now = json.loads(text), time.time()
                    if message["type"] == "trades":
                        rows = message["data"]
                        ages += [_age_ms(r, now) for r in rows if _time(r) >= started]
        except TimeoutError:
            return ages
    raise InvariantBroken("/v1/live ended the stream")


def _first(port: int, key: str) -> None:
    """Wait until the API has trades."""
    until, server = time.monotonic() + _FIRST_S, Server(Path(), port, 0)
    while time.monotonic() < until:
        if json.loads(server.get("/v1/trades?limit=1", key))["data"]:
            return
        time.sleep(0.2)
    raise InvariantBroken(f"no trade within {_FIRST_S:g} s")


def _time(row: dict[str, str]) -> float:
    return datetime.fromisoformat(row["timestamp"]).timestamp()


def _age_ms(row: dict[str, str], now: float) -> float:
    return 1_000 * (now - _time(row))


@contextmanager
def _chain(home: Path) -> Iterator[Server]:
    home.mkdir(parents=True)
    listed = f"exchanges: {{{EXCHANGE}: {{kinds: [trades], symbols: [{SYMBOL}]}}}}\n"
    (home / "instruments.yaml").write_text(listed, encoding="utf-8")
    port = free_port(_HOST)
    simulator = [
        sys.executable,
        "-m",
        "k2_feeds.simulator",
        "--only",
        EXCHANGE,
        "--port",
        str(port),
    ]
    simulator += ["--symbols", SYMBOL, "--rate", str(RATE)]
    feed = [K2, "feed", "--home", str(home), "--endpoint", f"ws://{_HOST}:{port}"]
    with ExitStack() as stack:
        broker = stack.enter_context(start_broker(home / FOLDER))
        services = stack.enter_context(Supervisor(home / "logs", {}))
        for service in (
            Service("simulator", simulator, partial(port_open, _HOST, port)),
            Service("feed", feed, (home / "feeds.json").exists),
        ):
            services.start(service)
            services.wait_ready(service)
        stack.enter_context(_tables(home, broker.settings))
        yield stack.enter_context(serving(home))


@contextmanager
def _tables(home: Path, kafka: KafkaSettings) -> Iterator[None]:
    """Tables follow Kafka in a process of their own, as Dagster would have it."""
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_follow, args=(home, kafka), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _follow(home: Path, kafka: KafkaSettings) -> None:
    lake, engine = Lake(LakeSettings.from_environment({}, home)), DuckDBEngine()
    while True:
        drain(lake, kafka, EXCHANGE, Kind.TRADES)
        refine(lake, engine, EXCHANGE, Kind.TRADES, partial(parse, EXCHANGE, Kind.TRADES))
        merge(lake, engine, Kind.TRADES, datetime.now(UTC).date())
        time.sleep(_TABLES_EVERY_S)
