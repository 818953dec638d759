"""The application: what it reads from, its routes, its one shape of errors, its OpenAPI."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from k2_api.answers.links import with_links
from k2_api.answers.problems import CONTENT_TYPE, install
from k2_api.answers.repeats import Repeats
from k2_api.guard.guard import Guard
from k2_api.guard.install import install_guard
from k2_api.guard.openapi import describe_guard
from k2_api.guard.settings import GuardSettings
from k2_api.live.candle_rows import CandleRows
from k2_api.live.history import History
from k2_api.live.hub import Hub
from k2_api.live.settings import LiveSettings
from k2_api.metrics.tables import TableMetrics
from k2_api.page.serve import install_page
from k2_api.reading.aggregations import Aggregations
from k2_api.reading.candle_reader import CandleReader
from k2_api.reading.export import Exports
from k2_api.reading.lags import Lags
from k2_api.reading.reader import LakeReader
from k2_api.reading.symbols import Symbols
from k2_api.routes import ROUTERS
from k2_api.tail.candles import FreshCandles
from k2_api.tail.tail import Tail
from k2_feeds.kafka.broker import settings_here
from k2_lake.catalog import LakeSettings

DESCRIPTION = """
Trades and candles of crypto exchanges, exactly as the tables hold them.

Decimals are strings in plain notation, never rounded. Times are UTC, in ISO 8601 with Z.
Ranges are start inclusive, end exclusive. Pages follow one another by `next_cursor`. Every error is
a problem (RFC 9457) with a stable `code`.

All under `/v1` is for holders of an API key (`k2 keys create NAME`), sent as `X-API-Key`, or as
`Authorization: Bearer`.
"""


def create_app(settings: LakeSettings) -> FastAPI:
    """The application over the lake at these settings; the lake need not have been made yet."""
    app = FastAPI(
        title="K2",
        version=version("k2-market-data"),
        description=DESCRIPTION,
        lifespan=_lifespan,
    )
    app.state.settings = settings
    app.state.live_settings = LiveSettings()
    for router in ROUTERS:
        app.include_router(router)
    install_page(app)
    install(app)
    app.add_middleware(Repeats)
    install_guard(app, Guard(settings, GuardSettings.from_environment()))
    describe = app.openapi
    app.openapi = lambda: with_links(describe_guard(_with_problems(describe())))  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.reader = LakeReader(app.state.settings, app.state.guard)
    app.state.symbols = Symbols(app.state.reader)
    app.state.exports = Exports(app.state.reader)
    app.state.lags = Lags(app.state.reader, app.state.settings.home)
    app.state.metrics = CollectorRegistry()
    app.state.metrics.register(TableMetrics(app.state.reader, app.state.lags))
    home = app.state.settings.home
    app.state.tail = Tail(app.state.reader, lambda: settings_here(os.environ, home))
    newer = FreshCandles(app.state.reader, app.state.tail)
    app.state.candles = CandleReader(app.state.reader, app.state.symbols, newer)
    app.state.aggregations = Aggregations(
        app.state.reader, app.state.symbols, app.state.candles, app.state.tail
    )
    app.state.live = Hub(
        History(app.state.reader, app.state.tail),
        CandleRows(app.state.candles),
        app.state.tail,
        app.state.live_settings,
    )
    app.state.live.start()
    app.state.tail.start()
    yield
    await app.state.live.stop()
    app.state.tail.stop()
    app.state.reader.close()


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """The document with errors under the media type that they are sent with."""
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if status >= "400" and "application/json" in content:
                    content[CONTENT_TYPE] = content.pop("application/json")
    return document
