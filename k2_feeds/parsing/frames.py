"""Raw frames to trades or quotes: what can be read becomes rows, all else is kept with its reason.

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

from k2_feeds.adapter import WIRE_ERRORS, Channel, Columns, Fault, Parser
from k2_feeds.adapters import adapter
from k2_feeds.archives.rows import describe, read_rows
from k2_feeds.kafka.frame import Origin
from k2_feeds.parsing.assembly import POSITION, POSITIONED, Refused, assemble
from k2_market.columns import filled
from k2_market.kind_rules import RULES
from k2_market.kinds import Kind
from k2_market.records import REJECTED

_PLACE = ("origin", "sequence", "payload")


@dataclass(frozen=True)
class Parsed:
    """Rows (columns of the kind's record), rejected ones (REJECTED), and frames of neither.

    ``control`` counts acknowledgements, heartbeats, status and frames of the kind without a row;
    ``other`` counts frames of other known channels.
    """

    rows: pa.Table
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


def parse(exchange: str, kind: Kind, frames: pa.Table) -> Parsed:
    """The trades or quotes in frames of one exchange; ``frames`` has the columns of RAW_FRAME.

    Rows keep the order of the frames and, within a frame, of the exchange. Every frame ends as
    rows, as rejected rows or in one of the two counts. Raises UnknownName for the exchange alone.
    """
    parser = adapter(exchange).parsers[kind]
    frames = frames.combine_chunks()
    payloads: list[Any] = frames["payload"].to_pylist()
    live, archived = _by_origin(frames)
    found = _read(parser, kind, payloads, live)
    parts = [(parser.columns(part.rows), part) for part in _by_type(found)]
    parts += _archived(kind, payloads, archived, found.faults)
    tables = [
        _valid_rows(kind, exchange, columns, part, frames, found.faults) for columns, part in parts
    ]
    rows = pa.concat_tables(tables) if tables else POSITIONED[kind].empty_table()
    if len(tables) > 1 or found.reread:
        rows = rows.sort_by([(POSITION, "ascending"), ("frame_index", "ascending")])
    counts = found.channels
    control = counts.pop(Channel.CONTROL, 0)
    return Parsed(
        rows=rows.drop_columns(POSITION).combine_chunks(),
        rejected=_rejected(exchange, kind, found.faults, frames),
        control=control,
        other=counts.total(),
    )


def _by_origin(frames: pa.Table) -> tuple[list[int], list[int]]:
    """The positions of frames that came by a connection, and of rows of archives."""
    archived = pc.equal(frames["origin"], pa.scalar(Origin.ARCHIVE.value)).to_pylist()
    if True not in archived:
        return list(range(len(archived))), []
    rows = [i for i, is_archived in enumerate(archived) if is_archived]
    return [i for i, is_archived in enumerate(archived) if not is_archived], rows


def _archived(
    kind: Kind, payloads: list[bytes], positions: list[int], faults: list[tuple[int, Fault]]
) -> list[tuple[Columns, _Found]]:
    """The rows of archives; one of another kind has no place in this topic."""
    found = read_rows(payloads, positions)
    faults += found.faults
    for file in found.files:
        if file.kind is not kind:
            foreign = Fault(0, "other_kind", f"a row of an archive of {file.kind} among {kind}")
            faults += [(position, foreign) for position in file.positions]
    ours = [f for f in found.files if f.kind is kind]
    return [(f.columns, _Found(f.positions, [0] * len(f.positions))) for f in ours]


def _read(parser: Parser, kind: Kind, payloads: list[bytes], positions: list[int]) -> _Found:
    """What the frames at these positions hold."""
    if len(positions) < len(payloads):
        payloads = [payloads[i] for i in positions]
    decoded, refused = _decode(parser, payloads)
    frame, index, rows = parser.rows(decoded)
    unusual = set(refused)
    usual = [p for i, p in enumerate(positions) if i not in unusual] if refused else positions
    found = _Found([usual[i] for i in frame], index, rows)
    found.channels[Channel.CONTROL] = len(decoded) - len(set(frame))
    for refusal in refused:
        _reread(parser, kind, payloads[refusal], positions[refusal], found)
    return found


def _decode(parser: Parser, payloads: list[bytes]) -> tuple[list[Any], list[int]]:
    """The frames that the typed decoder takes, and the positions of those it refuses."""
    decoded: list[Any] = []
    refused: list[int] = []
    rest = iter(payloads)
    while True:
        try:
            # What came before an exception stays in the list, and the iterator stands behind the
            # frame that raised it: one bad frame costs one exception and not another pass.
            decoded.extend(map(parser.decode, rest))
            return decoded, refused
        except WIRE_ERRORS:
            refused.append(len(decoded) + len(refused))


def _reread(parser: Parser, kind: Kind, payload: bytes, position: int, found: _Found) -> None:
    reading = parser.reread(payload)
    found.faults += [(position, fault) for fault in reading.faults]
    for index, row in reading.rows:
        found.reread = True
        found.frame.append(position)
        found.index.append(index)
        found.rows.append(row)
    if not reading.rows and not reading.faults:
        empty = reading.channel is Channel(kind)
        found.channels[Channel.CONTROL if empty else reading.channel] += 1


def _by_type(found: _Found) -> Iterator[_Found]:
    """The rows by the type of their struct: aggregated trades have other columns than trades."""
    types = list(dict.fromkeys(map(type, found.rows)))
    if len(types) == 1:
        yield found
        return
    for kind in types:
        yield found.only([i for i, row in enumerate(found.rows) if type(row) is kind])


def _valid_rows(
    kind: Kind,
    exchange: str,
    columns: Columns,
    part: _Found,
    frames: pa.Table,
    faults: list[tuple[int, Fault]],
) -> pa.Table:
    table, refused = assemble(kind, exchange, columns, frames, (part.frame, part.index))
    table = _without(table, refused, faults)
    breaches = RULES[kind].broken(table)
    return _without(table, {b.row: (b.reason, b.detail) for b in breaches}, faults)


def _without(table: pa.Table, refused: Refused, faults: list[tuple[int, Fault]]) -> pa.Table:
    if not refused:
        return table
    for row, (reason, detail) in refused.items():
        index = table["frame_index"][row].as_py()
        faults.append((table[POSITION][row].as_py(), Fault(index, reason, detail)))
    return table.filter(pa.array([row not in refused for row in range(len(table))]))


def _rejected(
    exchange: str, kind: Kind, faults: list[tuple[int, Fault]], frames: pa.Table
) -> pa.Table:
    faults = sorted(faults, key=lambda found: (found[0], found[1].frame_index))
    origin = frames.take(pa.array([position for position, _ in faults], pa.int64()))
    cells = {
        "exchange": pa.repeat(exchange, len(faults)),
        "kind": pa.repeat(str(kind), len(faults)),
        "reason": pa.array([fault.reason for _, fault in faults], pa.string()),
        "detail": pa.array(_details(faults, origin), pa.string()),
        "frame_index": pa.array([fault.frame_index for _, fault in faults], pa.int32()),
    }
    kept = {name: origin[name] for name in origin.column_names}
    return filled({**kept, **cells}, REJECTED.schema, len(faults))


def _details(faults: list[tuple[int, Fault]], origin: pa.Table) -> list[str]:
    """What was found; in an archive's row, after the file and the number of the line."""
    rows = zip(faults, *(origin[n].to_pylist() for n in _PLACE), strict=True)
    return [
        describe(payload, sequence) + fault.detail if came == Origin.ARCHIVE else fault.detail
        for (_, fault), came, sequence, payload in rows
    ]
