"""Frames of archives to the columns of trades or quotes: whole batches at once, bad rows put aside.

No bytes make it raise: what is no row of a known layout is a fault of its frame alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from k2_feeds.adapter import Columns, Fault
from k2_feeds.archives.cells import Cells
from k2_feeds.archives.envelope import END, Head, decode_head
from k2_feeds.archives.layouts import HISTORIES, LAYOUTS, Layout
from k2_feeds.faults import WHOLE_FRAME, shown
from k2_market.kinds import Kind


@dataclass
class ArchivedFile:
    """Rows of one file: their kind, the positions of their frames and the columns."""

    kind: Kind
    positions: list[int]
    columns: Columns


@dataclass
class ArchivedRows:
    """What a batch held: by file, and what could not be read, by position of its frame."""

    files: list[ArchivedFile] = field(default_factory=list)
    faults: list[tuple[int, Fault]] = field(default_factory=list)


@dataclass
class _File:
    layout: Layout
    head: Head
    positions: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def read_rows(payloads: Sequence[bytes], positions: Sequence[int]) -> ArchivedRows:
    """The rows in these payloads of origin ``archive``, each at its position in the batch."""
    found = ArchivedRows()
    files: dict[bytes, _File | None] = {}
    for position in positions:
        line, _, row = payloads[position].partition(END)
        if line not in files:
            files[line] = _file(line)
        file = files[line]
        if file is None:
            found.faults.append((position, _fault("unknown_archive", _HEAD.format(shown(line)))))
        else:
            _split(file, row, position, found)
    found.files.extend(rows for file in files.values() if file for rows in _rows(file, found))
    return found


def describe(payload: bytes, sequence: int) -> str:
    """Where a row stands, for the detail of what was rejected: ``line 17 of XBTUSD.csv``."""
    file = _file(payload.partition(END)[0])
    return "" if file is None else f"{file.layout.counted} {sequence} of {file.head.file}: "


_READ = {**LAYOUTS, **HISTORIES}
_HEAD = "the first line is no head of an archive of K2's, found {}"


def _file(line: bytes) -> _File | None:
    head = decode_head(line)
    layout = None if head is None else _READ.get(head.archive)
    if head is None or layout is None or not layout.can_read(head.columns):
        return None
    return _File(layout, head)


def _split(file: _File, row: bytes, position: int, found: ArchivedRows) -> None:
    try:
        cells = file.layout.split(row)
    except (ValueError, RecursionError) as error:
        found.faults.append((position, _fault("malformed_row", shown(str(error)))))
        return
    if len(cells) != len(file.head.columns):
        detail = f"{len(file.head.columns)} cells expected, found {len(cells)}: {shown(row)}"
        found.faults.append((position, _fault("wrong_cells", detail)))
        return
    file.positions.append(position)
    file.rows.append(cells)


def _rows(file: _File, found: ArchivedRows) -> Iterator[ArchivedFile]:
    """Read a file's rows; those with faults are left out and the others read again."""
    if not file.rows:
        return
    cells = Cells(file.head.symbol, file.head.columns, file.rows)
    columns = file.layout.read(cells)
    if not cells.faults:
        yield ArchivedFile(file.layout.kind, file.positions, columns)
        return
    found.faults += [(file.positions[i], _fault(*why)) for i, why in cells.faults.items()]
    good = [i for i in range(len(file.rows)) if i not in cells.faults]
    rest = _File(file.layout, file.head)
    rest.positions, rest.rows = [file.positions[i] for i in good], [file.rows[i] for i in good]
    yield from _rows(rest, found)


def _fault(reason: str, detail: str) -> Fault:
    return Fault(WHOLE_FRAME, reason, detail)
