"""Binance's trades on the wire, and what each field means.

Sources: "Trade Streams" and "Aggregate Trade Streams" of spot and of USD-M futures. Futures send
raw trades undocumented, with their execution type in ``X``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from k2_feeds.adapter import Parser, Reading, Route, TradeColumns
from k2_feeds.parsing.faults import one_row, reading_of
from k2_market.kinds import Kind
from k2_market.records import AGGREGATED, TRADE

# The last instant of the year 9999 in microseconds: more is no time in any unit Binance uses.
Time = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999_999)]
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 2)]
_CONDITIONS = TRADE.schema.field("trade_conditions").type
_VENDOR_DATA = TRADE.schema.field("vendor_data").type


class Trade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    """``{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100",...}``."""

    E: Time
    s: str
    t: Id
    p: str
    q: str
    T: Time
    m: bool
    X: str | None = None


class AggTrade(msgspec.Struct, tag_field="e", tag="aggTrade", gc=False):
    """Trades ``f`` to ``l`` of one taker at one price: ``{"e":"aggTrade","a":12345,...}``."""

    E: Time
    s: str
    a: Id
    p: str
    q: str
    f: Id
    l: Id  # noqa: E741 (the exchange's name)
    T: Time
    m: bool


class Combined(msgspec.Struct, gc=False):
    """``{"stream":"btcusdt@trade","data":{"e":"trade",...}}``."""

    data: Trade | AggTrade


_decode = msgspec.json.Decoder(Combined).decode
_decode_bare = msgspec.json.Decoder(Trade | AggTrade).decode


def parser(route: Callable[[Any], Route]) -> Parser:
    """The parser of trades; ``route`` tells what a decoded message is."""

    def reread(payload: bytes) -> Reading:
        return reading_of(payload, Kind.TRADES, route, lambda message: _reread(payload, message))

    return Parser(_decode, rows, reread, columns)


def _reread(payload: bytes, message: Any) -> Reading:
    """A trade outside a combined stream, or a fault."""
    combined = isinstance(message, dict) and "data" in message
    decode = (lambda frame: _decode(frame).data) if combined else _decode_bare
    return one_row(payload, Kind.TRADES, decode)


def rows(decoded: Sequence[Combined]) -> tuple[list[int], list[int], list[Any]]:
    """One trade in each frame."""
    return list(range(len(decoded))), [0] * len(decoded), [frame.data for frame in decoded]


def columns(rows: Sequence[Any]) -> TradeColumns:
    """The columns of trades, or of aggregated trades."""
    aggregated = bool(rows) and isinstance(rows[0], AggTrade)
    return _aggregated_columns(rows) if aggregated else _trade_columns(rows)


def _trade_columns(rows: Sequence[Trade]) -> TradeColumns:
    ids = pa.array([r.t for r in rows], pa.int64())
    conditions = _conditions([r.X for r in rows])
    return TradeColumns(
        exchange_symbol=pa.array([r.s for r in rows], pa.string()),
        trade_id=ids.cast(pa.string()),
        source_sequence=ids,
        timestamp=to_micros(pa.array([r.T for r in rows], pa.int64())),
        event_time=to_micros(pa.array([r.E for r in rows], pa.int64())),
        price=pa.array([r.p for r in rows], pa.string()),
        quantity=pa.array([r.q for r in rows], pa.string()),
        side=taker_side(pa.array([r.m for r in rows], pa.bool_())),
        trade_conditions=conditions,
        candle_eligible=conditions.is_null(),
    )


def _aggregated_columns(rows: Sequence[AggTrade]) -> TradeColumns:
    first = pa.array([r.f for r in rows], pa.int64())
    last = pa.array([r.l for r in rows], pa.int64())
    ids = pa.array([f"{AGGREGATED}{r.a}" for r in rows], pa.string())
    return TradeColumns(
        exchange_symbol=pa.array([r.s for r in rows], pa.string()),
        trade_id=ids,
        source_sequence=last,
        timestamp=to_micros(pa.array([r.T for r in rows], pa.int64())),
        event_time=to_micros(pa.array([r.E for r in rows], pa.int64())),
        price=pa.array([r.p for r in rows], pa.string()),
        quantity=pa.array([r.q for r in rows], pa.string()),
        side=taker_side(pa.array([r.m for r in rows], pa.bool_())),
        vendor_data=_first_and_last(first, last),
        trade_count=pc.add(pc.subtract(last, first), 1),
    )


def to_micros(times: pa.Array[Any]) -> pa.Array[Any]:
    """Binance's times in microseconds, whichever of its two units they came in.

    Streams send milliseconds, and microseconds where the URL asks ``timeUnit=MICROSECOND`` (and
    spot archives since 2025). Told by magnitude: 10**14 is the year 5138 in milliseconds and
    1973 in microseconds, and no trade is from either.
    """
    milliseconds: Any = pc.less(times, pa.scalar(10**14))
    micros: pa.Array[Any] = pc.if_else(milliseconds, pc.multiply(times, 1000), times)
    return micros


def taker_side(buyer_is_maker: pa.Array[Any]) -> pa.Array[Any]:
    """``m``: "Is the buyer the market maker?" If so, the taker sold."""
    side: pa.Array[Any] = pc.if_else(buyer_is_maker, "sell", "buy")
    return side


def _conditions(execution_types: list[str | None]) -> pa.Array[Any]:
    """``X`` of futures: anything but MARKET (INSURANCE_FUND, ADL, NA) is in no candle of theirs."""
    flags: pa.Array[Any] = pa.nulls(len(execution_types), _CONDITIONS)
    if not set(execution_types) <= {None, "MARKET"}:
        unusual = [None if x in (None, "MARKET") else [x] for x in execution_types]
        flags = pa.array(unusual, _CONDITIONS)
    return flags


def _first_and_last(first: pa.Array[Any], last: pa.Array[Any]) -> pa.Array[Any]:
    pairs = zip(first.to_pylist(), last.to_pylist(), strict=True)
    texts = [[("first_trade_id", str(f)), ("last_trade_id", str(z))] for f, z in pairs]
    maps: pa.Array[Any] = pa.array(texts, _VENDOR_DATA)
    return maps
