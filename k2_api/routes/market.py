"""The routes: each reads its parameters, asks one question and shapes the answer."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from k2_api.answers.models import Candles, Health, Instruments, Symbols, Trades
from k2_api.answers.problems import Problem
from k2_api.questions.parameters import RangeParameters
from k2_api.reading import instruments, queries
from k2_api.reading.instruments import InstrumentParameters
from k2_api.reading.reader import LakeReader
from k2_api.reading.symbols import SymbolIndex
from k2_lake.tables import INSTRUMENTS_TABLE, TABLES, TRADES_TABLE
from k2_market.errors import LakeUnavailable
from k2_market.timeframes import TIMEFRAMES

PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "An exchange, symbol or timeframe that is not known."},
    422: {"model": Problem, "description": "A parameter that cannot be understood."},
    503: {"model": Problem, "description": "The tables cannot be read now; see Retry-After."},
}

router = APIRouter()


@router.get("/health", response_model=Health, tags=["state"])
def health(request: Request) -> Response:
    """Whether the process lives, and what it sees of the tables. Always 200 while it lives."""
    reader, index = _reader(request)
    answer: dict[str, Any] = {"status": "ok", "detail": None, "version": version("k2-market-data")}
    try:
        newest = index.listing().newest
        tables = queries.health(reader, list(TABLES), request.app.state.lags.by_table())
    except LakeUnavailable as error:
        answer.update(status="degraded", detail=str(error), newest_trade=None, tables=[])
    else:
        answer.update(newest_trade=newest, tables=tables)
    return _json(answer)


@router.get("/v1/symbols", response_model=Symbols, responses={503: PROBLEMS[503]}, tags=["market"])
def symbols(request: Request) -> Response:
    """Every instrument that has trades, with the days of its first and last one."""
    listing = _reader(request)[1].listing()
    rows = [
        {
            "exchange": i.exchange,
            "symbol": i.symbol,
            "exchange_symbol": i.exchange_symbol,
            "first_trade_date": i.first,
            "last_trade_date": i.last,
            "trades": i.trades,
        }
        for i in listing.instruments
    ]
    return _json(
        {"data": rows, "meta": {"table": TRADES_TABLE, "snapshot_id": _text(listing.snapshot_id)}}
    )


@router.get("/v1/instruments", response_model=Instruments, responses=PROBLEMS, tags=["market"])
def listed(request: Request, asked: Annotated[InstrumentParameters, Query()]) -> Response:
    """What the exchanges list: names, tick and lot sizes, contracts, and since when."""
    found = instruments.page(_reader(request)[0], asked)
    meta = {
        "table": INSTRUMENTS_TABLE,
        "snapshot_id": _text(found.snapshot_id),
        "at": found.at,
        "limit": asked.limit,
        "has_more": found.next_cursor is not None,
        "next_cursor": found.next_cursor,
    }
    return _rows(found.rows, meta)


@router.get("/v1/trades", response_model=Trades, responses=PROBLEMS, tags=["market"])
def trades(request: Request, asked: Annotated[RangeParameters, Query()]) -> Response:
    """Trades, each exactly once, by exchange, symbol, timestamp, source_sequence and trade_id."""
    return _page(request, queries.TRADES, asked)


@router.get("/v1/ohlcv/{timeframe}", response_model=Candles, responses=PROBLEMS, tags=["market"])
def ohlcv(
    request: Request,
    timeframe: Annotated[str, Path(description=f"One of {', '.join(TIMEFRAMES)}.")],
    asked: Annotated[RangeParameters, Query()],
) -> Response:
    """Candles by exchange, symbol and window_start.

    `start` and `end` are compared with window_start. Windows without a trade are left out.
    """
    return _page(request, queries.candles(timeframe), asked)


def _page(request: Request, feed: queries.Feed, asked: RangeParameters) -> Response:
    found = queries.page(*_reader(request), feed, asked)
    meta = {
        "table": feed.table,
        "snapshot_id": _text(found.snapshot_id),
        "start": found.start,
        "end": found.end,
        "limit": asked.limit,
        "has_more": found.next_cursor is not None,
        "next_cursor": found.next_cursor,
    }
    return _rows(found.rows, meta)


def _rows(rows: list[str], meta: dict[str, Any]) -> Response:
    body = f'{{"data":[{",".join(rows)}],"meta":'.encode() + _encode(meta) + b"}"
    return Response(body, media_type="application/json")


def _reader(request: Request) -> tuple[LakeReader, SymbolIndex]:
    return request.app.state.reader, request.app.state.index


def _text(snapshot_id: int | None) -> str | None:
    return None if snapshot_id is None else str(snapshot_id)


def _json(value: dict[str, Any]) -> Response:
    return Response(_encode(value), media_type="application/json")


def _encode(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value)
