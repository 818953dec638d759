"""Raw frames to trades: whatever can be read becomes rows, all else is kept with its reason.

Pure: the same frames give the same rows. Usual frames are decoded one after another by one typed
decoder and turned into columns at once; a frame it refuses is read again with patience, and its
neighbours never notice. No bytes make it raise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from k2_feeds.adapter import WIRE_ERRORS, Adapter, Channel, Fault, TradeColumns
from k2_feeds.adapters import adapter
from k2_feeds.archives.rows import describe, read_rows
from k2_feeds.faults import shown
from k2_feeds.frame import Origin
from k2_market import exact
from k2_market.instruments import canonical_symbol, quote_currency
from k2_market.records import PRICE, QUANTITY, REJECTED, TRADE
from k2_market.trade_rules import broken

_COORDINATES = ("epoch", "kafka_partition", "kafka_offset")
_KIND = "trades"
_PLACE = ("origin", "sequence", "payload")
# Trades on their way: with the position of their frame in the batch.
_POSITION = "position"
_POSITIONED = TRADE.schema.append(pa.field(_POSITION, pa.int64()))
_CURES = {
    "unreadable_symbol": "the {name} names no pair of known currencies",
    "bad_decimal": "the {name} is no decimal number that fits with at most eight decimals",
    "bad_time": "the {name} is no instant with an offset and at most microseconds",
}


@dataclass(frozen=True)
class ParsedTrades:
    """Trades (columns of TRADE), what was rejected (columns of REJECTED), and frames of neither.

    ``control`` counts acknowledgements, heartbeats, status and frames of trades without a trade;
    ``other`` counts frames of known channels that hold no trades.
    """

    trades: pa.Table
    rejected: pa.Table
    control: int
    other: int


@dataclass
class _Found:
    """Rows with the frame they came in and their place in it, and faults with their frame.

    ``reread`` tells that rows of unusual frames stand behind the others, out of order.
    """

    frame: list[int] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    faults: list[tuple[int, Fault]] = field(default_factory=list)
    channels: Counter[Channel] = field(default_factory=Counter)
    reread: bool = False

    def only(self, rows: list[int]) -> _Found:
        """Those of the rows, without the faults."""
        return _Found(
            [self.frame[i] for i in rows],
            [self.index[i] for i in rows],
            [self.rows[i] for i in rows],
        )


def parse_trades(exchange: str, frames: pa.Table) -> ParsedTrades:
    """The trades in frames of one exchange; ``frames`` has the columns of RAW_FRAME.

    Rows keep the order of the frames and, within a frame, of the exchange. Every frame ends as
    trades, as rejected rows or in one of the two counts. Raises UnknownName for the exchange alone.
    """
    venue = adapter(exchange)
    frames = frames.combine_chunks()
    payloads: list[Any] = frames["payload"].to_pylist()
    live, archived = _by_origin(frames)
    found = _read(venue, payloads, live)
    tables = [
        _trades(venue, venue.columns(part.rows), part, frames, found.faults)
        for part in _by_type(found)
    ]
    tables += _archived(venue, payloads, archived, frames, found.faults)
    trades = pa.concat_tables(tables) if tables else _POSITIONED.empty_table()
    if len(tables) > 1 or found.reread:
        trades = trades.sort_by([(_POSITION, "ascending"), ("frame_index", "ascending")])
    return ParsedTrades(
        trades=trades.drop_columns(_POSITION).combine_chunks(),
        rejected=_rejected(exchange, found.faults, frames),
        control=found.channels[Channel.CONTROL],
        other=found.channels[Channel.OTHER] + found.channels[Channel.QUOTES],
    )


def _by_origin(frames: pa.Table) -> tuple[list[int], list[int]]:
    """The positions of frames that came by a connection, and of rows of archives."""
    archived = pc.equal(frames["origin"], pa.scalar(Origin.ARCHIVE.value)).to_pylist()
    if True not in archived:
        return list(range(len(archived))), []
    rows = [i for i, is_archived in enumerate(archived) if is_archived]
    return [i for i, is_archived in enumerate(archived) if not is_archived], rows


def _archived(
    venue: Adapter,
    payloads: list[bytes],
    positions: list[int],
    frames: pa.Table,
    faults: list[tuple[int, Fault]],
) -> list[pa.Table]:
    found = read_rows(payloads, positions)
    faults += found.faults
    parts = [(_Found(f.positions, [0] * len(f.positions)), f.columns) for f in found.files]
    return [_trades(venue, columns, part, frames, faults) for part, columns in parts]


def _read(venue: Adapter, payloads: list[bytes], positions: list[int]) -> _Found:
    """What the frames at these positions hold."""
    if len(positions) < len(payloads):
        payloads = [payloads[i] for i in positions]
    decoded, refused = _decode(venue, payloads)
    frame, index, rows = venue.rows(decoded)
    unusual = set(refused)
    usual = [p for i, p in enumerate(positions) if i not in unusual] if refused else positions
    found = _Found([usual[i] for i in frame], index, rows)
    found.channels[Channel.CONTROL] = len(decoded) - len(set(frame))
    for refusal in refused:
        _reread(venue, payloads[refusal], positions[refusal], found)
    return found


def _decode(venue: Adapter, payloads: list[bytes]) -> tuple[list[Any], list[int]]:
    """The frames that the typed decoder takes, and the positions of those it refuses."""
    decoded: list[Any] = []
    refused: list[int] = []
    rest = iter(payloads)
    while True:
        try:
            # What came before an exception stays in the list, and the iterator stands behind the
            # frame that raised it: one bad frame costs one exception and not another pass.
            decoded.extend(map(venue.decode, rest))
            return decoded, refused
        except WIRE_ERRORS:
            refused.append(len(decoded) + len(refused))


def _reread(venue: Adapter, payload: bytes, position: int, found: _Found) -> None:
    reading = venue.reread(payload)
    found.faults += [(position, fault) for fault in reading.faults]
    for index, row in reading.rows:
        found.reread = True
        found.frame.append(position)
        found.index.append(index)
        found.rows.append(row)
    if not reading.rows and not reading.faults:
        empty = reading.channel is Channel.TRADES
        found.channels[Channel.CONTROL if empty else reading.channel] += 1


def _by_type(found: _Found) -> Iterator[_Found]:
    """The rows by the type of their struct: aggregated trades have other columns than trades."""
    types = list(dict.fromkeys(map(type, found.rows)))
    if len(types) == 1:
        yield found
        return
    for kind in types:
        yield found.only([i for i, row in enumerate(found.rows) if type(row) is kind])


def _trades(
    venue: Adapter,
    columns: TradeColumns,
    part: _Found,
    frames: pa.Table,
    faults: list[tuple[int, Fault]],
) -> pa.Table:
    table, refused = _assemble(venue.exchange, columns, part, frames)
    table = _without(table, refused, faults)
    return _without(table, {b.row: (b.reason, b.detail) for b in broken(table)}, faults)


def _without(
    table: pa.Table, refused: dict[int, tuple[str, str]], faults: list[tuple[int, Fault]]
) -> pa.Table:
    if not refused:
        return table
    for row, (reason, detail) in refused.items():
        index = table["frame_index"][row].as_py()
        faults.append((table[_POSITION][row].as_py(), Fault(index, reason, detail)))
    return table.filter(pa.array([row not in refused for row in range(len(table))]))


def _assemble(
    exchange: str, columns: TradeColumns, part: _Found, frames: pa.Table
) -> tuple[pa.Table, dict[int, tuple[str, str]]]:
    """The table of TRADE with the position of each row's frame, and the rows refused.

    The cells to blame are null in a refused row.
    """
    symbol, currency, unreadable = _symbols(columns.exchange_symbol)
    price, bad_price = exact.decimals(columns.price, PRICE)
    quantity, bad_quantity = exact.decimals(columns.quantity, QUANTITY)
    timestamp, bad_time = exact.instants(columns.timestamp)
    event_time, bad_event_time = exact.instants(columns.event_time)
    position = pa.array(part.frame, pa.int64())
    origin = frames.select([*_COORDINATES, "received_at", "ingest_date"])
    if part.frame != list(range(len(frames))):
        origin = origin.take(position)
    cells = {
        "exchange": pa.repeat(exchange, len(position)),
        "symbol": symbol,
        "asset_class": pa.repeat("crypto", len(position)),
        "timestamp": timestamp,
        "event_time": event_time,
        "ingestion_timestamp": origin["received_at"],
        "price": price,
        "quantity": quantity,
        "currency": currency,
        "frame_index": pa.array(part.index, pa.int32()),
        "trade_date": timestamp.cast(pa.date32()),
        "ingest_date": origin["ingest_date"],
        _POSITION: position,
    } | {name: origin[name] for name in _COORDINATES}
    arrays = [cells[n] if n in cells else getattr(columns, n) for n in _POSITIONED.names]
    refused = _refusals(
        ("unreadable_symbol", "symbol", unreadable, columns.exchange_symbol),
        ("bad_decimal", "price", bad_price, columns.price),
        ("bad_decimal", "quantity", bad_quantity, columns.quantity),
        ("bad_time", "trade time", bad_time, columns.timestamp),
        ("bad_time", "event time", bad_event_time, columns.event_time),
    )
    return pa.table(arrays, schema=_POSITIONED), refused


def _symbols(exchange_symbols: pa.Array[Any]) -> tuple[pa.Array[Any], pa.Array[Any], list[int]]:
    """Canonical symbol and quote currency of each row, null where unreadable, and those rows."""
    encoded = exchange_symbols.dictionary_encode()
    names = [canonical_symbol(name) for name in encoded.dictionary.to_pylist()]
    quotes = [None if name is None else quote_currency(name) for name in names]
    symbol = pa.array(names, pa.string()).take(encoded.indices)
    currency = pa.array(quotes, pa.string()).take(encoded.indices)
    bad = [] if None not in names else [i for i, n in enumerate(symbol.to_pylist()) if n is None]
    return symbol, currency, bad


def _refusals(*found: tuple[str, str, list[int], pa.Array[Any]]) -> dict[int, tuple[str, str]]:
    """Reason and detail by row; the first of several reasons of a row stays."""
    refused: dict[int, tuple[str, str]] = {}
    for reason, name, rows, values in found:
        for row in rows:
            detail = f"{_CURES[reason].format(name=name)}, found {shown(values[row].as_py())}"
            refused.setdefault(row, (reason, detail))
    return refused


def _rejected(exchange: str, faults: list[tuple[int, Fault]], frames: pa.Table) -> pa.Table:
    faults = sorted(faults, key=lambda found: (found[0], found[1].frame_index))
    origin = frames.take(pa.array([position for position, _ in faults], pa.int64()))
    cells = {
        "exchange": pa.repeat(exchange, len(faults)),
        "kind": pa.repeat(_KIND, len(faults)),
        "reason": pa.array([fault.reason for _, fault in faults], pa.string()),
        "detail": pa.array(_details(faults, origin), pa.string()),
        "frame_index": pa.array([fault.frame_index for _, fault in faults], pa.int32()),
    }
    arrays = [cells[n] if n in cells else origin[n] for n in REJECTED.columns]
    return pa.table(arrays, schema=REJECTED.schema)


def _details(faults: list[tuple[int, Fault]], origin: pa.Table) -> list[str]:
    """What was found; in an archive's row, after the file and the number of the line."""
    rows = zip(faults, *(origin[n].to_pylist() for n in _PLACE), strict=True)
    return [
        describe(payload, sequence) + fault.detail if came == Origin.ARCHIVE else fault.detail
        for (_, fault), came, sequence, payload in rows
    ]
