"""A page of rows of any dataset: those of the question, in its order, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import msgspec
import pyarrow as pa

from k2_api.questions import cursor as cursors
from k2_api.reading.asked import Asked, last_day
from k2_api.reading.joined import Key, counted, newer_rows
from k2_api.reading.reader import LakeReader, read_from
from k2_api.reading.spans import all_asked_for
from k2_api.reading.statements import condition, page_sql, plan
from k2_lake.engine import Input
from k2_market.timeframes import day_bounds

# Without a start the newest rows are looked for in so many days more each time.
_FURTHER = 8
_SHORTEST = timedelta(minutes=1)


@dataclass(frozen=True)
class Page:
    """Rows as JSON texts, and how to go on. ``start`` is the one that was applied."""

    rows: list[str]
    snapshot_id: int | None
    start: datetime | None
    end: datetime | None
    next_cursor: str | None


@dataclass(frozen=True)
class _Found:
    """The rows of a page, whether there are more, and the key of the last of a full page."""

    rows: list[str]
    more: bool
    key: Key | None


def page(reader: LakeReader, asked: Asked, limit: int) -> Page:
    """At most ``limit`` rows of the question. Raises LakeUnavailable."""
    part, found = _of_table(reader, asked, limit)
    newer = newer_rows(reader, asked, found.key)
    if newer is not None and newer.num_rows:
        found = _read(reader, part, limit, newer)
    return Page(
        found.rows,
        read_from(asked.table, asked.at),
        asked.start,
        asked.end,
        _cursor_behind(asked, found.key) if found.key and found.more else None,
    )


def _of_table(reader: LakeReader, asked: Asked, limit: int) -> tuple[Asked, _Found]:
    """The page as if there were no tail, and the part of the question that it was read of."""
    several = iter(_near_parts(asked, limit) if asked.pace else parts(asked))
    while True:
        part = next(several)
        found = _read(reader, part, limit, None)
        if found.more or part is asked:
            return part, found


def _read(reader: LakeReader, part: Asked, limit: int, newer: pa.Table | None) -> _Found:
    """The page of the table, and of rows that it lacks."""
    inputs: dict[str, Input] = {"rows": plan(reader, part)}
    rows = "{rows}"
    if newer is not None:
        inputs["newer"] = newer
        rows = "(select * from {rows} union all by name select * from {newer})"
    sql, values = page_sql(part, rows)
    [(texts, count, key)] = reader.run(sql, inputs, {**values, "limit": limit}, part.table)
    rows_told = str(texts).split("\n") if count else []
    return _Found(rows_told, int(str(count)) > limit, cast("Key | None", key))


def count(reader: LakeReader, asked: Asked) -> int:
    """How many rows the question has. Raises LakeUnavailable."""
    files = plan(reader, asked)
    if all_asked_for(asked, files):
        return files.rows + counted(reader, asked)
    where, values = condition(asked)
    sql = f"select count(*) from {{rows}} where {where}"
    [(rows,)] = reader.run(sql, files, values, asked.table)
    return int(str(rows)) + counted(reader, asked)


def sample(reader: LakeReader, asked: Asked, rows: int) -> pa.Table:
    """Some rows of the question that its table has, at most so many. Raises LakeUnavailable."""
    where, values = condition(asked)
    sql = f"select {', '.join(asked.fields)} from {{rows}} where {where} limit {rows:d}"
    found = reader.arrow(sql, {"rows": plan(reader, asked)}, values, asked.table)
    return found.cast(asked.schema)


def rows_of(found: Page) -> list[dict[str, Any]]:
    """The rows of a page, to stand inside of another answer."""
    return [msgspec.json.decode(row) for row in found.rows]


def parts(asked: Asked) -> Iterator[Asked]:
    """The question itself; or for the newest rows, the same of ever more days before its end."""
    backwards = asked.descending and asked.start is None and asked.one_instrument
    first, newest = asked.first_day, asked.newest_day
    if backwards and asked.dataset.days_before is not None and first and newest:
        last = last_day(newest, _end(asked))
        days = asked.dataset.days_before
        while last - timedelta(days=days) > first:
            yield replace(asked, start=day_bounds(last - timedelta(days=days))[0])
            days = max(1, days) * _FURTHER
    yield asked


def _near_parts(asked: Asked, limit: int) -> Iterator[Asked]:
    """Of one instrument, ever more time behind where the page begins; then the question itself.

    The first part has twice the page's rows if trade is as always: were all that follows read, a
    page would cost more with every day that a table has.
    """
    first, newest = asked.first_day, asked.newest_day
    if asked.one_instrument and asked.pace and first and newest:
        begin, end = _reach(asked, first, newest)
        length = max(timedelta(seconds=2 * limit / asked.pace), _SHORTEST)
        while begin + length < end:
            near = {"start": end - length} if asked.descending else {"end": begin + length}
            yield replace(asked, **near)  # type: ignore[arg-type]
            length *= _FURTHER
    yield asked


def _reach(asked: Asked, first: date, newest: date) -> tuple[datetime, datetime]:
    """From when to when the rows of the page can be."""
    begin, end = day_bounds(first)[0], day_bounds(newest)[1]
    if asked.start is not None:
        begin = max(begin, asked.start)
    until = _end(asked)
    if asked.descending:
        return begin, end if until is None else min(end, until)
    if asked.after is not None:
        at = asked.after[asked.dataset.order.index(str(asked.dataset.time))]
        begin = max(begin, at) if isinstance(at, datetime) else begin
    return begin, end if asked.end is None else min(end, asked.end)


def _end(asked: Asked) -> datetime | None:
    """The end, or just behind the key that the rows must come before."""
    if asked.after is None or asked.dataset.time is None:
        return asked.end
    at = asked.after[asked.dataset.order.index(asked.dataset.time)]
    return at + timedelta(microseconds=1) if isinstance(at, datetime) else asked.end


def _cursor_behind(asked: Asked, last: Key) -> str:
    values = [last[name] for name in asked.dataset.order]
    key = [v.astimezone(UTC) if isinstance(v, datetime) else v for v in values]
    snapshot = None if asked.at is None else asked.at.snapshot_id
    return cursors.encode(cursors.after(asked.start, key, snapshot), asked.text)  # type: ignore[arg-type]
