"""Candles that no table holds: of other windows, in a zone's days, or across exchanges.

They are rolled up from stored candles by the statement that makes the stored ones, so every figure
is exact. What a page needs is read, and no more: of one instrument, so many windows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import cast

import pyarrow as pa

from k2_api.questions.timeframes import EPOCH, US, Grain, LocalGrain
from k2_api.reading.asked import Asked
from k2_api.reading.candle_set import CandleSet, micros
from k2_api.reading.reader import LakeReader
from k2_api.reading.statements import condition, ordered, plan
from k2_lake.candles import rollup_sql
from k2_lake.scan import Files, day_of_file
from k2_market.errors import TooLarge
from k2_market.records import CANDLE
from k2_market.timeframes import day_bounds

# So many stored candles are read for a page at most; it takes some two seconds.
MOST_READ = 10_000_000
# Where a page is not full, so many times more windows are looked at.
_FURTHER = 16

Values = dict[str, object]


@dataclass(frozen=True)
class Part:
    """A question of the windows from ``low`` on and before ``high``, in microseconds."""

    asked: Asked
    low: int
    high: int


@dataclass(frozen=True)
class Rollup:
    """The SQL of candles of coarser windows, and the values of its parameters."""

    sql: str
    values: Values


def derived_rows(reader: LakeReader, asked: Asked, limit: int) -> pa.Table:
    """At most ``limit`` candles behind ``asked.after``, in order. Raises LakeUnavailable, TooLarge.

    Their windows begin within the range; what they are made of may lie behind its end.
    """
    within = aligned(asked)
    files = plan(reader, within)
    found = CANDLE.schema.empty_table()
    for part in parts(within, files, limit):
        require_bounded(part, files)
        found = _page(reader, part, files, limit)
        if found.num_rows >= limit:
            break
    return found.select(CANDLE.columns).cast(CANDLE.schema)


def whole(reader: LakeReader, asked: Asked) -> tuple[Part, Files]:
    """The question from its first window to its last, and the files of it. Raises TooLarge."""
    within = aligned(replace(asked, after=None))
    files = plan(reader, within)
    part = _between(within, *_reach(within, files))
    require_bounded(part, files)
    return part, files


def aligned(asked: Asked) -> Asked:
    """The question with a range that begins and ends with a window."""
    grain = windows_of(asked)
    start, end = (
        None if at is None else _instant(grain.ceil(micros(at))) for at in (asked.start, asked.end)
    )
    return replace(asked, start=start, end=end)


def parts(asked: Asked, files: Files, limit: int) -> Iterator[Part]:
    """The question with a range that is closed; or of one instrument, ever more of its windows."""
    grain = windows_of(asked)
    low, high = _reach(asked, files)
    if low >= high:
        return
    if len(asked.symbols) != 1 or not (len(asked.exchanges) == 1 or _set(asked).consolidated):
        yield _between(asked, low, high)
        return
    if asked.after is not None:
        at = micros(cast("datetime", asked.after[2]))
        low, high = (low, min(high, at)) if asked.descending else (max(low, grain.after(at)), high)
    count = limit
    while low < high:
        size = count * grain.micros
        if size >= high - low:
            yield _between(asked, low, high)
            return
        if asked.descending:
            yield _between(asked, grain.floor(high - size), high)
        else:
            yield _between(asked, low, grain.ceil(low + size))
        count *= _FURTHER


def require_bounded(part: Part, files: Files) -> None:
    """Raises TooLarge where more stored candles would be read than may be for one page."""
    asked, candles = part.asked, _set(part.asked)
    days = range(_instant(part.low).toordinal(), _instant(part.high).toordinal() + 1)
    rows = sum(f.record_count for f in files.files if day_of_file(f).toordinal() in days)
    if asked.exchanges and asked.symbols:
        windows = (part.high - part.low) // candles.source.micros
        rows = min(rows, windows * len(asked.exchanges) * len(asked.symbols))
    if rows > MOST_READ:
        raise TooLarge(
            f"{candles.grain.name} would be made of up to {rows:,} candles of "
            f"{candles.source.name}; {MOST_READ:,} may be read for an answer. Ask for a shorter "
            "range (start, end) or for fewer symbols and exchanges."
        )


def rollup(part: Part) -> Rollup:
    """The candles of whole windows from the stored ones in ``{rows}`` that the question takes."""
    where, values = condition(replace(part.asked, after=None))
    source = f"(select * from {part.asked.newer.source()} where {where})"
    grain = windows_of(part.asked)
    if not isinstance(grain, LocalGrain):
        begun = f"unix_micros(window_start) - {grain.offset // US}"
        window = f"unix_micros(window_start) - ({begun}) % {grain.micros}"
        return Rollup(rollup_sql(window, f"us + {grain.micros}", source), values)
    # Windows that differ in length are told one by one.
    marks = [*grain.starts(part.low, part.high), part.high]
    told = "(select unnest($begins::bigint[]) as begins, unnest($ends::bigint[]) as ends)"
    within = (
        f"(select c.*, w.begins from {source} c asof join {told} w "
        "on unix_micros(c.window_start) >= w.begins)"
    )
    ended = f"(select w.ends from {told} w where w.begins = r.us)"
    sql = rollup_sql("begins", ended, within)
    return Rollup(sql, {**values, "begins": marks[:-1], "ends": marks[1:]})


def windows_of(asked: Asked) -> Grain:
    """The windows that are asked for."""
    return _set(asked).grain


def _page(reader: LakeReader, part: Part, files: Files, limit: int) -> pa.Table:
    asked, made = part.asked, rollup(part)
    behind, key = condition(replace(asked, exchanges=(), symbols=(), start=None, end=None))
    sql = f"select * from ({made.sql}) where {behind} order by {ordered(asked)} limit $limit"
    values = {**made.values, **key, "limit": limit}
    return reader.arrow(sql, asked.newer.inputs(files), values, asked.table)


def _reach(asked: Asked, files: Files) -> tuple[int, int]:
    """From where to where there can be windows, by the days of the files."""
    grain = windows_of(asked)
    newer: list[date] = asked.newer.rows["window_date"].unique().to_pylist()  # type: ignore[assignment]
    days = [*(day_of_file(f) for f in files.files), *newer]
    if not days:
        return 0, 0
    low = grain.floor(micros(day_bounds(min(days))[0]))
    high = grain.ceil(micros(day_bounds(max(days))[1]))
    if asked.start is not None:
        low = max(low, micros(asked.start))
    return low, high if asked.end is None else min(high, micros(asked.end))


def _between(asked: Asked, low: int, high: int) -> Part:
    return Part(replace(asked, start=_instant(low), end=_instant(high)), low, high)


def _instant(us: int) -> datetime:
    return EPOCH + us * US


def _set(asked: Asked) -> CandleSet:
    return cast("CandleSet", asked.dataset)
