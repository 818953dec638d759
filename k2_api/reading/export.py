"""All rows of a question in their order, as batches, with memory that their number does not change.

There is no sort of everything: the answer is cut into slices (see there), each read by itself, the
next ones while one is on its way. All are of the files that the table had when the question came,
and of what the tail had then, whatever is committed meanwhile. If a file is removed before it was
read, the rows break off with an error.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pyarrow as pa
from pyiceberg.table import Table

from k2_api.reading.ahead import ahead
from k2_api.reading.asked import Asked
from k2_api.reading.joined import newer_rows
from k2_api.reading.queries import count
from k2_api.reading.reader import LakeReader
from k2_api.reading.slices import Amount, cut, together
from k2_api.reading.spans import may_hold, spans_of
from k2_api.reading.statements import condition, ordered, plan
from k2_lake.locations import local_path
from k2_lake.scan import Files
from k2_market.errors import TooLarge

Batches = Generator[pa.RecordBatch, None, None]

# Some 11 MB of trades.
BATCH_ROWS = 65_536
KEPT_FILES = 10_000
MAX_EXPORT_ROWS = 10_000_000

_OF_FILES = "{rows}"
_OF_BOTH = "(select * from {rows} union all by name select * from {newer})"
_AMOUNTS = "select exchange, symbol, count(*) from %s where %s group by 1, 2 order by 1, 2"
# A file in order has no two rows that are equal in these columns: what else tells them apart is
# not looked at.
_DISORDER = """
select count(*) from (
  select symbol, {time}, {place}, lag(symbol) over () as s, lag({time}) over () as t,
    lag({place}) over () as p
  from {{rows}})
where symbol < s or (symbol = s and ({time} < t or ({time} = t and {place} <= p)))
"""


@dataclass(frozen=True)
class Part:
    """Rows of the question that are read at once: of these files, and of those that none has yet.

    ``lies`` says that they lie in order.
    """

    asked: Asked
    files: Files
    newer: pa.Table | None = None
    lies: bool = False

    @property
    def rows(self) -> str:
        """What stands for the rows in SQL."""
        return _OF_FILES if self.newer is None else _OF_BOTH

    @property
    def inputs(self) -> dict[str, Files | pa.Table]:
        """What the names in ``rows`` stand for."""
        files: dict[str, Files | pa.Table] = {"rows": self.files}
        return files if self.newer is None else {**files, "newer": self.newer}


class Exports:
    """Makes exports, and remembers of which files the rows lie in order."""

    def __init__(self, reader: LakeReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._in_order: OrderedDict[str, bool] = OrderedDict()

    def rows(self, asked: Asked, limit: int | None = None) -> Batches:
        """The rows, at most ``limit``; to be closed, lest work goes on for nobody.

        Raises LakeUnavailable, at once where the table cannot be read, and underway.
        """
        whole = Part(asked, plan(self._reader, asked), newer_rows(self._reader, asked))
        return ahead(limited(self._read(whole, limit), limit))

    def _read(self, whole: Part, limit: int | None) -> Batches:
        asked = whole.asked
        for part in self._parts(whole):
            where, values = condition(part.asked)
            sql = f"select {', '.join(asked.fields)} from {part.rows} where {where}"
            if not part.lies:
                sql += f" order by {ordered(asked)}"
            if limit is not None:
                sql += f" limit {limit:d}"
            yield from self._reader.batches(sql, part.inputs, values, asked.table, BATCH_ROWS)

    def _parts(self, whole: Part) -> Iterator[Part]:
        asked, table = whole.asked, whole.asked.table
        if table is None or not _by_instrument_and_time(asked):
            yield whole
            return
        found = list(together(self._amounts(whole)))
        for group in reversed(found) if asked.descending else found:
            if len(group) > 1:
                yield _of_group(whole, table, group)
            else:
                yield from self._of_one(whole, table, group[0])

    def _amounts(self, whole: Part) -> list[Amount]:
        where, values = condition(whole.asked)
        sql = _AMOUNTS % (whole.rows, where)
        found = self._reader.arrow(sql, whole.inputs, values, whole.asked.table).to_pydict()
        return [Amount(*row) for row in zip(*found.values(), strict=True)]

    def _of_one(self, whole: Part, table: Table, amount: Amount) -> Iterator[Part]:
        asked = whole.asked
        spans = spans_of(asked, table, whole.files, whole.newer, amount)
        found = list(cut(amount.exchange, amount.symbol, spans, alone=not asked.descending))
        for part in reversed(found) if asked.descending else found:
            files = whole.files.only(f for f in part.files if f is not None)
            yield Part(
                replace(
                    asked,
                    exchanges=(part.exchange,),
                    symbols=part.symbols,
                    start=part.first,
                    end=part.end,
                ),
                files,
                whole.newer if None in part.files else None,
                part.of_one_file and not asked.descending and self._lies(asked, files),
            )

    def _lies(self, asked: Asked, one: Files) -> bool:
        """Whether the rows of that file lie in order, as K2 writes them; looked at once a file."""
        [path] = one.paths
        if local_path(path) is None:
            return False
        with self._lock:
            known = self._in_order.get(path)
        if known is None:
            _, _, time, place, *_ = asked.dataset.order
            sql = _DISORDER.format(time=time, place=place)
            [(disorder,)] = self._reader.run(sql, one, {}, asked.table)
            known = disorder == 0
            with self._lock:
                self._in_order[path] = known
                if len(self._in_order) > KEPT_FILES:
                    self._in_order.popitem(last=False)
        return known


def require_exportable(reader: LakeReader, asked: Asked, limit: int | None) -> None:
    """Raise TooLarge where the question has more rows than one answer may have."""
    if limit is not None or plan(reader, asked).rows <= MAX_EXPORT_ROWS:
        return
    require_few(count(reader, asked))


def require_few(rows: int) -> None:
    """Raise TooLarge where these are more rows than one answer may have."""
    if rows > MAX_EXPORT_ROWS:
        raise TooLarge(
            f"the range has {rows:,} rows and one answer at most {MAX_EXPORT_ROWS:,}. Narrow it by "
            "start and end, or name an exchange and a symbol; /count below the route tells how "
            "many rows a question has."
        )


def limited(batches: Batches, limit: int | None) -> Batches:
    """The first ``limit`` rows; nothing is read for more."""
    left = limit
    with closing(batches):
        for batch in batches:
            if left is not None and batch.num_rows >= left:
                yield batch.slice(0, left)
                return
            left = None if left is None else left - batch.num_rows
            yield batch


def _by_instrument_and_time(asked: Asked) -> bool:
    """Whether rows come by exchange, symbol and time, in a table whose files lie in days."""
    dataset = asked.dataset
    by_time = dataset.order[:3] == ("exchange", "symbol", dataset.time)
    return dataset.in_days and by_time and len(dataset.order) > 3


def _of_group(whole: Part, table: Table, group: list[Amount]) -> Part:
    names = {(a.exchange, a.symbol) for a in group}
    found = [f for f in whole.files.files if any(may_hold(table, f, *name) for name in names)]
    symbols = tuple(a.symbol for a in group)
    of_these = replace(whole.asked, exchanges=(group[0].exchange,), symbols=symbols)
    return Part(of_these, whole.files.only(found), whole.newer)
