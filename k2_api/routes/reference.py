"""What there is: symbols, instruments, snapshots, figures of the whole and of a day."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from k2_api.answers import pages
from k2_api.answers.models import Instruments, Snapshots, Stats, Summaries, Symbols
from k2_api.guard.permits import requires
from k2_api.questions.parameters import (
    InstrumentParameters,
    ListingParameters,
    NoParameters,
    SnapshotParameters,
)
from k2_api.reading.datasets import INSTRUMENTS
from k2_api.reading.instruments import instrument_conditions
from k2_api.reading.state import kept_states, table_states
from k2_api.reading.summary import summaries
from k2_api.reading.symbols import listing_as_of, require_exchange
from k2_api.routes.sources import FORMATTED, PROBLEMS, candles_of, reader_of, rows, symbols_of
from k2_lake.tables import TABLES, TRADES_TABLE

router = APIRouter(prefix="/v1", tags=["reference"], dependencies=[requires("read")])


@router.get("/symbols", response_model=Symbols, responses=PROBLEMS)
def symbols(request: Request, said: Annotated[ListingParameters, Query()]) -> Response:
    """Every instrument that has trades, with the days of its first and last one."""
    listing = listing_as_of(reader_of(request), symbols_of(request), said.as_of)
    exchanges = [require_exchange(e) for e in said.exchanges]
    found = [
        {
            "exchange": i.exchange,
            "symbol": i.symbol,
            "exchange_symbol": i.exchange_symbol,
            "first_trade_date": i.first,
            "last_trade_date": i.last,
            "trades": i.rows,
        }
        for i in listing.matching(exchanges, ())
    ]
    meta = {"table": TRADES_TABLE, "snapshot_id": pages.text(listing.snapshot_id)}
    return pages.answer({"data": found, "meta": meta})


@router.get("/instruments", response_model=Instruments, responses=FORMATTED)
def instruments(request: Request, said: Annotated[InstrumentParameters, Query()]) -> Response:
    """What the exchanges list: names, tick and lot sizes, contracts, and since when."""
    conditions, values, at = instrument_conditions(said)
    return rows(request, INSTRUMENTS, said, conditions, values, at=at)


@router.get("/snapshots", response_model=Snapshots, responses=PROBLEMS)
def snapshots(request: Request, said: Annotated[SnapshotParameters, Query()]) -> Response:
    """The states of tables that are kept and can be asked for with `as_of`, the newest first."""
    return pages.answer({"data": kept_states(reader_of(request), said.table, said.limit)})


@router.get("/stats", response_model=Stats, responses={n: PROBLEMS[n] for n in (422, 503)})
def stats(request: Request, _: Annotated[NoParameters, Query()]) -> Response:
    """How much there is of what, and how far each table is behind its feed."""
    listing = symbols_of(request).listing()
    tables = table_states(reader_of(request), list(TABLES), request.app.state.lags.by_table())
    instruments = [
        {
            "exchange": i.exchange,
            "symbol": i.symbol,
            "trades": i.rows,
            "first_trade_date": i.first,
            "last_trade_date": i.last,
        }
        for i in listing.instruments
    ]
    return pages.answer(
        {"data": {"instruments": instruments, "tables": tables, "newest_trade": listing.newest}}
    )


@router.get("/summary/{symbol}/{date}", response_model=Summaries, responses=PROBLEMS)
def summary(
    request: Request,
    symbol: Annotated[str, Path(max_length=64, description="In any spelling, as for trades.")],
    date: Annotated[str, Path(max_length=10, description="A UTC day, such as 2024-08-08.")],
    said: Annotated[ListingParameters, Query()],
) -> Response:
    """A day of an instrument on each exchange: candle, condition, gaps, quotes."""
    reader, index, candles = reader_of(request), symbols_of(request), candles_of(request)
    return pages.answer({"data": summaries(reader, index, candles, symbol, date, said)})
