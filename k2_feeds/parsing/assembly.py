"""Columns as the exchange wrote them to rows of a record: exact, or refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_feeds.adapter import Columns, QuoteColumns
from k2_feeds.parsing.faults import shown
from k2_market import exact
from k2_market.columns import filled
from k2_market.instruments import canonical_symbol, quote_currency
from k2_market.kinds import Kind
from k2_market.quote_rules import CROSSED, LOCKED
from k2_market.records import QUOTE, TRADE

COORDINATES = ("epoch", "kafka_partition", "kafka_offset")
# Rows on their way bear the position of their frame in the batch.
POSITION = "position"
POSITIONED = {kind: kind.record.schema.append(pa.field(POSITION, pa.int64())) for kind in Kind}

# Row by row: the reason and the detail of a refusal.
Refused = dict[int, tuple[str, str]]

_CONDITIONS = QUOTE.schema.field("quote_conditions").type
_DECIMALS = {kind: [f for f in kind.record.schema if pa.types.is_decimal(f.type)] for kind in Kind}
_MAY_BE_UNSAID = {
    Kind.TRADES: (
        "event_time",
        "trade_conditions",
        "vendor_data",
        "candle_eligible",
        "trade_count",
    ),
    Kind.QUOTES: ("event_time", "vendor_data"),
}
# Where an exchange says nothing of it: a trade is in candles, and stands for itself.
_USUAL = {"candle_eligible": True, "trade_count": 1}
_CONTENT = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
_SECOND = pa.scalar(1_000_000, pa.int64())
_CURES = {
    "unreadable_symbol": "the {name} names no pair of known currencies",
    "bad_decimal": "the {name} is no decimal number that fits with at most eight decimals",
    "bad_time": "the {name} is no instant with an offset and at most microseconds",
}


def assemble(
    kind: Kind,
    exchange: str,
    columns: Columns,
    frames: pa.Table,
    places: tuple[Sequence[int], Sequence[int]],
) -> tuple[pa.Table, Refused]:
    """The rows of the kind's record with the position of each one's frame, and those refused.

    ``places`` are, row by row, the position of the frame in ``frames`` and the place within it. The
    cells to blame are null in a refused row.
    """
    frame, index = places
    symbol, currency, unreadable = _symbols(columns.exchange_symbol)
    position = pa.array(frame, pa.int64())
    origin = frames.select([*COORDINATES, "received_at", "ingest_date"])
    if list(frame) != list(range(len(frames))):
        origin = origin.take(position)
    numbers = {f.name: exact.decimals(getattr(columns, f.name), f.type) for f in _DECIMALS[kind]}
    said = {name: _said(columns, name, len(position)) for name in _MAY_BE_UNSAID[kind]}
    times = {
        "timestamp": exact.instants(columns.timestamp),
        "event_time": exact.instants(said["event_time"]),
    }
    timestamp = _or_received(times["timestamp"][0], origin)
    cells: dict[str, Any] = {
        "exchange": pa.repeat(exchange, len(position)),
        "symbol": symbol,
        "asset_class": pa.repeat("crypto", len(position)),
        **said,
        **{name: cells for name, (cells, _) in {**numbers, **times}.items()},
        "timestamp": timestamp,
        "ingestion_timestamp": origin["received_at"],
        "currency": currency,
        "frame_index": pa.array(index, pa.int32()),
        kind.record.day: timestamp.cast(pa.date32()),
        "ingest_date": origin["ingest_date"],
        POSITION: position,
        **{name: origin[name] for name in COORDINATES},
    }
    if isinstance(columns, QuoteColumns):
        cells["quote_conditions"] = _conditions(cells["bid_price"], cells["ask_price"])
        cells |= _identity(columns, cells, stated=times["timestamp"][0])
    cells |= {f.name: getattr(columns, f.name) for f in fields(columns) if f.name not in cells}
    refused = _refusals(
        ("unreadable_symbol", "symbol", unreadable, columns.exchange_symbol),
        *(("bad_decimal", _words(n), bad, getattr(columns, n)) for n, (_, bad) in numbers.items()),
        ("bad_time", f"{_one(kind)} time", times["timestamp"][1], columns.timestamp),
        ("bad_time", "event time", times["event_time"][1], said["event_time"]),
    )
    return filled(cells, POSITIONED[kind], len(position)), refused


def _said(columns: Columns, name: str, rows: int) -> pa.Array[Any]:
    """What the exchange said, or what stands where it says nothing."""
    said: pa.Array[Any] | None = getattr(columns, name)
    if said is not None:
        return said
    usual = pa.scalar(_USUAL.get(name), TRADE.schema.field(name).type)
    unsaid: pa.Array[Any] = pa.repeat(usual, rows)
    return unsaid


def _or_received(timestamp: pa.Array[Any], origin: pa.Table) -> pa.Array[Any]:
    """The time of receipt where the exchange gives none."""
    if not timestamp.null_count:
        return timestamp
    received: Any = origin["received_at"].combine_chunks()
    filled: pa.Array[Any] = pc.coalesce(timestamp, received)
    return filled


def _conditions(bid: Any, ask: Any) -> pa.Array[Any]:
    """Which quotes are crossed or locked; nearly none are."""
    crossed: Any = pc.greater(bid, ask)
    locked: Any = pc.equal(bid, ask)
    if not pc.any(crossed).as_py() and not pc.any(locked).as_py():
        none: pa.Array[Any] = pa.nulls(len(bid), _CONDITIONS)
        return none
    both = zip(crossed.to_pylist(), locked.to_pylist(), strict=True)
    flags = [[CROSSED] if above else [LOCKED] if equal else None for above, equal in both]
    conditions: pa.Array[Any] = pa.array(flags, _CONDITIONS)
    return conditions


def _identity(
    columns: QuoteColumns, cells: dict[str, Any], *, stated: pa.Array[Any]
) -> dict[str, pa.Array[Any]]:
    """Ids and order of quotes; where the exchange numbers none, of their time and content.

    Where it states no time either, the second of receipt is the time, in the order as well: repeats
    are looked for among rows of equal order. See docs/decisions/0008-quotes-without-ids.md.
    """
    if not columns.quote_id.null_count:
        return {}
    micros = cells["timestamp"].cast(pa.int64())
    second = pc.multiply(pc.divide(micros, _SECOND), _SECOND)
    time: Any = pc.if_else(stated.is_valid(), micros, second)
    parts = [part.cast(pa.string()) for part in (time, *(cells[name] for name in _CONTENT))]
    made: Any = pc.binary_join_element_wise(*parts, " ")
    return {
        "quote_id": pc.coalesce(columns.quote_id, made),
        "source_sequence": pc.coalesce(columns.source_sequence, time),
    }


def _words(column: str) -> str:
    return column.replace("_", " ")


def _one(kind: Kind) -> str:
    return kind.record.name.lower()


def _symbols(exchange_symbols: pa.Array[Any]) -> tuple[pa.Array[Any], pa.Array[Any], list[int]]:
    """Canonical symbol and quote currency of each row, null where unreadable, and those rows."""
    encoded = exchange_symbols.dictionary_encode()
    names = [canonical_symbol(name) for name in encoded.dictionary.to_pylist()]
    quotes = [None if name is None else quote_currency(name) for name in names]
    symbol = pa.array(names, pa.string()).take(encoded.indices)
    currency = pa.array(quotes, pa.string()).take(encoded.indices)
    bad = [] if None not in names else [i for i, n in enumerate(symbol.to_pylist()) if n is None]
    return symbol, currency, bad


def _refusals(*found: tuple[str, str, list[int], pa.Array[Any]]) -> Refused:
    """Reason and detail by row; the first of several reasons of a row stays."""
    refused: Refused = {}
    for reason, name, rows, values in found:
        for row in rows:
            detail = f"{_CURES[reason].format(name=name)}, found {shown(values[row].as_py())}"
            refused.setdefault(row, (reason, detail))
    return refused
