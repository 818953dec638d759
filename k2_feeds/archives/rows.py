"""Frames of archives to the columns of trades or quotes: whole batches at once, bad rows put aside.

No bytes make it raise: what is no row of a known layout is a fault of its frame alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from k2_feeds.adapter import Columns, Fault
from k2_feeds.archives.cells import Cells, plain_columns, split_csv
from k2_feeds.archives.envelope import END, Head, decode_head
from k2_feeds.archives.layouts import HISTORIES, LAYOUTS, Layout
from k2_feeds.parsing.faults import WHOLE_FRAME, shown
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
    rows: list[bytes] = field(default_factory=list)


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
            file.positions.append(position)
            file.rows.append(row)
    for file in filter(None, files.values()):
        _read(file, found)
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


def _read(file: _File, found: ArchivedRows) -> None:
    """Read a file's rows: all at once where they are simple, else one by one."""
    names, simple = file.head.columns, None
    if file.layout.split is split_csv:
        simple = plain_columns(file.rows, names)
    if simple is not None:
        positions, cells = file.positions, Cells(file.head.symbol, simple, len(file.rows))
    else:
        positions, split = _split(file, found)
        columns = dict(zip(names, _transposed(split, len(names)), strict=True))
        cells = Cells(file.head.symbol, columns, len(split))
    _columns(file.layout, positions, cells, found)


def _split(file: _File, found: ArchivedRows) -> tuple[list[int], list[list[str]]]:
    """The rows that have as many cells as there are columns, and their positions."""
    positions, rows = [], []
    for position, row in zip(file.positions, file.rows, strict=True):
        try:
            cells = file.layout.split(row)
        except (ValueError, RecursionError) as error:
            found.faults.append((position, _fault("malformed_row", shown(str(error)))))
            continue
        if len(cells) != len(file.head.columns):
            detail = f"{len(file.head.columns)} cells expected, found {len(cells)}: {shown(row)}"
            found.faults.append((position, _fault("wrong_cells", detail)))
            continue
        positions.append(position)
        rows.append(cells)
    return positions, rows


def _transposed(rows: list[list[str]], width: int) -> list[pa.Array[Any]]:
    columns = zip(*rows, strict=True) if rows else ((),) * width
    return [pa.array(column, pa.string()) for column in columns]


def _columns(layout: Layout, positions: list[int], cells: Cells, found: ArchivedRows) -> None:
    """The columns of the rows; those with faults are left out and the others read again."""
    if not cells.rows:
        return
    columns = layout.read(cells)
    if not cells.faults:
        found.files.append(ArchivedFile(layout.kind, positions, columns))
        return
    found.faults += [(positions[i], _fault(*why)) for i, why in cells.faults.items()]
    good = [i for i in range(cells.rows) if i not in cells.faults]
    _columns(layout, [positions[i] for i in good], cells.only(good), found)


def _fault(reason: str, detail: str) -> Fault:
    return Fault(WHOLE_FRAME, reason, detail)
