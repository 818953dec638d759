"""A tail that is fed by hand, and the API's live routes over it, served by the real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import FastAPI
from pyiceberg.table import Table

from k2_api.answers.problems import install
from k2_api.guard.guard import Guard
from k2_api.guard.install import install_guard
from k2_api.guard.settings import GuardSettings
from k2_api.live.candle_rows import CandleRows
from k2_api.live.history import History
from k2_api.live.hub import Hub
from k2_api.live.settings import LiveSettings
from k2_api.reading.candle_reader import CandleReader
from k2_api.reading.reader import LakeReader
from k2_api.reading.symbols import Symbols
from k2_api.routes import live
from k2_api.serving import Server
from k2_lake.bronze import position
from k2_lake.gold import merge, pending_days
from k2_lake.silver import refine
from k2_lake.tables import TRADES_TABLE, bronze_name, gold_name
from k2_market.kinds import Kind
from k2_market.records import TRADE
from tests.frames import Print, bronze_rows, prints_table
from tests.keyed import fast_key
from tests.lakes import LakeDriver, parser
from tests.services import wait_until

Listener = Callable[[Kind, pa.Table], None]


@dataclass(frozen=True)
class Told:
    """How fresh the tail says it is."""

    tail: str = "live"
    through: datetime | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Given:
    """What was given and is in no table; some of it a table may have nevertheless."""

    freshness: Told
    given: pa.Table

    def rows(self, symbols: Collection[str] | None = None) -> pa.Table:
        wanted = pa.array(sorted(symbols or ()), pa.string())
        return self.given.filter(pc.is_in(self.given["symbol"], value_set=wanted))


@dataclass
class HandFed:
    """Trades of Binance come when ``give`` is called, and get into the tables with ``store``."""

    driver: LakeDriver
    down: bool = False
    off: bool = False
    beginnings: int = 1
    next_number: int = 101
    _listeners: list[Listener] = field(default_factory=list)
    _waiting: list[Print] = field(default_factory=list)
    _held: list[pa.Table] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def listen(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def begun(self, kind: Kind, exchange: str) -> int:
        return self.beginnings

    def state(self, kind: Kind, exchanges: Iterable[str] | None = None) -> Told:
        if self.off:
            return Told("off")
        return Told("down") if self.down else Told("live", datetime.now(UTC))

    def view(
        self, kind: Kind, table: Table | None, exchanges: Iterable[str] | None = None
    ) -> Given:
        with self._lock:
            held = [] if self.down else list(self._held)
        freshness = self.state(kind)
        known = None if table is None else table.metadata_location
        now = self.driver.lake.table(gold_name(kind)).metadata_location
        if known != now:
            freshness = Told("down", None, "the table moved on while it was asked")
        return Given(freshness, pa.concat_tables([TRADE.schema.empty_table(), *held]))

    def trades(self, count: int, symbol: str = "BTCUSDT", at_ms: int | None = None) -> list[Print]:
        """The next trades, which have not come yet."""
        first = self.next_number
        self.next_number += count
        numbers = range(first, first + count)
        return [
            Print(n, n * 10 if at_ms is None else at_ms, "10.5", "0.25", symbol=symbol)
            for n in numbers
        ]

    def give(self, prints: Sequence[Print], *, unheard: bool = False) -> None:
        """They come; ``unheard``: while the tail does not follow."""
        at = position(self.driver.lake.table(bronze_name("binance", Kind.TRADES)))
        first = (0 if at is None else at.offsets[0]) + len(self._waiting)
        epoch = 1 if at is None else at.epoch
        rows = parser()(bronze_rows(prints_table(prints, first), epoch)).rows
        self._waiting += prints
        with self._lock:
            self._held.append(rows)
        for listener in () if unheard else list(self._listeners):
            listener(Kind.TRADES, rows)

    def store(self) -> None:
        """What came gets into the tables, and the tail lets go of it."""
        lake, engine = self.driver.lake, self.driver.engine
        self.driver.receive(self._waiting)
        refine(lake, engine, "binance", Kind.TRADES, parser())
        for day in pending_days(lake, Kind.TRADES):
            merge(lake, engine, Kind.TRADES, day)
        self._waiting.clear()
        with self._lock:
            self._held.clear()


@dataclass
class Served:
    """The running server."""

    fed: HandFed
    app: FastAPI
    server: Server
    port: int
    key: str

    @property
    def hub(self) -> Hub:
        hub: Hub = self.app.state.live
        return hub

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key}


def _app(driver: LakeDriver, fed: HandFed, settings: LiveSettings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        reader = LakeReader(driver.lake.settings)
        app.state.symbols = Symbols(reader)
        candles = CandleRows(CandleReader(reader, app.state.symbols))
        app.state.live = Hub(History(reader, fed), candles, fed, settings)
        app.state.live.start()
        yield
        await app.state.live.stop()
        reader.close()

    app = FastAPI(lifespan=lifespan)
    app.state.live_settings = settings
    app.include_router(live.router)
    install(app)
    install_guard(app, Guard(driver.lake.settings, GuardSettings()))
    return app


@contextmanager
def served(
    driver: LakeDriver, settings: LiveSettings | None = None, kernel_bytes: int | None = None
) -> Iterator[Served]:
    """The live routes over the lake, until the context ends.

    ``kernel_bytes`` is about what the kernel keeps for a reader that does not read.
    """
    fed = HandFed(driver)
    app = _app(driver, fed, settings or LiveSettings())
    key = fast_key(driver.lake.settings)
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    if kernel_bytes is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kernel_bytes)
    port = listening.getsockname()[1]
    server = Server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_until(lambda: server.started, "the server")
        yield Served(fed, app, server, port, key)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def filled_lake(home: Path) -> LakeDriver:
    """Twenty trades of two symbols are in the tables."""
    driver = LakeDriver(home)
    driver.receive([Print(n, n, "10", "1", symbol="BTCUSDT") for n in range(1, 11)])
    driver.receive([Print(n, n, "10", "1", symbol="ETHUSDT") for n in range(11, 21)])
    driver.tick()
    assert len(driver.rows(TRADES_TABLE)) == 20
    return driver


def ids(messages: Sequence[dict[str, Any]]) -> list[int]:
    """The trades in these messages, in order."""
    return [int(row["trade_id"]) for m in messages for row in m["data"]]
