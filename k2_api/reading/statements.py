"""The SQL and the plan of a question.

A query is planned with Iceberg's pruning (day, exchange, symbol, time) and the filter is repeated
on the rows. Values are bound; only names of columns, all from the records, stand in the SQL.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, reduce

import pyarrow as pa
from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    In,
    LessThan,
)

from k2_api.answers import row_text
from k2_api.reading.asked import Asked
from k2_api.reading.narrowed import narrowed
from k2_api.reading.reader import LakeReader
from k2_lake.scan import Files
from k2_market.records import Record

# Plans are made for whole hours, so that a question that moves with the clock finds them kept.
PLAN_STEP = timedelta(hours=1)
# A range within so many days is planned by the day, for whatever may be asked of it: the next
# question finds the plan, and narrows it in a fraction of the time that planning takes.
FEW_DAYS = 3
DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)


def plan(reader: LakeReader, asked: Asked) -> Files:
    """The files that may hold rows of the question."""
    days, table, dataset = _few_days(asked), asked.table, asked.dataset
    if days is None or table is None:
        return reader.plan(dataset.table, table, *_pruning(asked), asked.at)
    files = Files(dataset.record.schema, ())
    for day in days:
        of_day = EqualTo(dataset.record.day, day)
        files += reader.plan(dataset.table, table, of_day, (dataset.table, day), asked.at)
    return narrowed(files, table, asked, *_range(asked))


def ordered(asked: Asked) -> str:
    """The order of the rows, as the text behind ``order by``."""
    return ", ".join(f"{c} desc" if asked.descending else c for c in asked.dataset.order)


def condition(asked: Asked) -> tuple[str, dict[str, object]]:
    """The condition on rows, and the values of its parameters."""
    values = dict(asked.values)
    parts = ["true", *asked.conditions]
    for column, wanted in (("exchange", asked.exchanges), ("symbol", asked.symbols)):
        if wanted:
            parts.append(_among(column, wanted, values))
    for name, comparison in (("start", ">="), ("end", "<")):
        bound = getattr(asked, name)
        if bound is not None and asked.dataset.time is not None:
            parts.append(f"{asked.dataset.time} {comparison} ${name}")
            values[name] = bound
    if asked.after is not None:
        parts += _behind(asked, values)
    return " and ".join(parts), values


def page_sql(asked: Asked, rows: str = "{rows}") -> tuple[str, dict[str, object]]:
    """A page of ``$limit`` rows as a single one: their texts, how many there are, the last key.

    The texts are JSON, a line each; one row more is counted where there are more; the key is that
    of the last of a full page, by the names of its columns. As one row, because turning a thousand
    into objects of Python took as long as reading them.
    """
    where, values = condition(asked)
    order = ordered(asked)
    key = ", ".join(f"{c} := {c}" for c in asked.dataset.order)
    # Only the rows of the page are made into JSON: as one select, all rows of the range were.
    sql = (
        f"select string_agg(json, chr(10) order by place) filter (place <= $limit), count(*), "
        f"any_value(key) filter (place = $limit) from (select "
        f"{row_json(asked.dataset.record, asked.fields)} as json, struct_pack({key}) as key, "
        f"row_number() over (order by {order}) as place "
        f"from (select * from {rows} where {where} order by {order} limit $limit + 1))"
    )
    return sql, values


def since(asked: Asked, start: datetime) -> Asked:
    """The same question of a range that begins at ``start``."""
    return replace(asked, start=start)


def _among(column: str, wanted: tuple[str, ...], values: dict[str, object]) -> str:
    names = [f"{column}_{n}" for n in range(len(wanted))]
    values.update(zip(names, wanted, strict=True))
    if len(wanted) == 1:
        return f"{column} = ${names[0]}"
    return f"{column} in ({', '.join('$' + n for n in names)})"


def _behind(asked: Asked, values: dict[str, object]) -> list[str]:
    """Rows that come after the key: the first column alone as well, for it prunes."""
    order = asked.dataset.order
    names = [f"after_{c}" for c in order]
    values.update(zip(names, asked.after or (), strict=True))
    sign = "<" if asked.descending else ">"
    return [
        f"{order[0]} {sign}= ${names[0]}",
        f"({', '.join(order)}) {sign} ({', '.join('$' + n for n in names)})",
    ]


def _pruning(asked: Asked) -> tuple[BooleanExpression, Hashable]:
    """The filter for planning, and its key: whole hours around the range."""
    start, end = _hours(asked)
    dataset, parts = asked.dataset, list[BooleanExpression]([AlwaysTrue()])
    for column, wanted in (("exchange", asked.exchanges), ("symbol", asked.symbols)):
        if wanted:
            parts.append(In(column, wanted))
    if dataset.in_days and start is not None:
        parts.append(GreaterThanOrEqual(dataset.record.day, start.date()))
        parts.append(GreaterThanOrEqual(str(dataset.time), start.isoformat()))
    if dataset.in_days and end is not None:
        parts.append(LessThan(dataset.record.day, (end + DAY).date()))
        parts.append(LessThan(str(dataset.time), end.isoformat()))
    return reduce(And, parts), (dataset.table, asked.exchanges, asked.symbols, start, end)


def _few_days(asked: Asked) -> list[date] | None:
    """The days that the range touches, None where they are many, or rows do not lie in them."""
    start, end = _range(asked)
    if not asked.dataset.in_days or start is None or end is None:
        return None
    first, last = start.astimezone(UTC).date(), (end - MICROSECOND).astimezone(UTC).date()
    count = (last - first).days + 1
    return [first + n * DAY for n in range(count)] if count <= FEW_DAYS else None


def _range(asked: Asked) -> tuple[datetime | None, datetime | None]:
    """The range, less what lies before the key of a page of one instrument."""
    start, end = asked.start, asked.end
    if asked.after is not None and asked.one_instrument and asked.dataset.in_days:
        at = asked.after[asked.dataset.order.index(str(asked.dataset.time))]
        if isinstance(at, datetime):
            start, end = (start, at + MICROSECOND) if asked.descending else (at, end)
    return start, end


def _hours(asked: Asked) -> tuple[datetime | None, datetime | None]:
    """The same in whole hours."""
    start, end = _range(asked)
    return (
        None if start is None else _floor(start),
        None if end is None else _floor(end) + PLAN_STEP,
    )


def _floor(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


@cache
def row_json(record: Record, fields: tuple[str, ...]) -> str:
    """The SQL that makes a row one JSON object, to stand in a statement of the reader."""
    made = row_text.row_json(pa.schema([record.schema.field(name) for name in fields]))
    return made.replace("{", "{{").replace("}", "}}")
