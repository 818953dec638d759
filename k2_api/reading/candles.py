"""A page of candles: stored or derived, filled, with what is final."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import cast

import pyarrow as pa

from k2_api.answers.row_text import json_texts
from k2_api.questions import cursor as cursors
from k2_api.questions.timeframes import EPOCH, US
from k2_api.reading.asked import Asked
from k2_api.reading.candle_files import CandleFiles
from k2_api.reading.candle_set import CandleSet, micros
from k2_api.reading.consolidated import consolidated_rows
from k2_api.reading.current import Key, keys_of
from k2_api.reading.derived import derived_rows
from k2_api.reading.fill import with_empty
from k2_api.reading.final import finals
from k2_api.reading.queries import Page, parts
from k2_api.reading.reader import LakeReader, read_from
from k2_api.reading.statements import condition, ordered, plan
from k2_market.records import CANDLE


def candle_page(reader: LakeReader, held: CandleFiles, asked: Asked, limit: int) -> Page:
    """At most ``limit`` candles of the question. Raises LakeUnavailable, TooLarge, UsageError."""
    found = candles(reader, held, asked, limit + 1)
    more = found.num_rows > limit
    rows = found.slice(0, limit)
    return Page(
        json_texts(rows.select(asked.fields)),
        read_from(asked.table, asked.at),
        asked.start,
        asked.end,
        cursor_behind(asked, keys_of(rows)[-1]) if more else None,
    )


def candles(reader: LakeReader, held: CandleFiles, asked: Asked, limit: int) -> pa.Table:
    """At most ``limit`` rows of the question behind ``asked.after``, of the dataset's record."""
    dataset = cast("CandleSet", asked.dataset)
    rows = _filled(reader, asked, limit) if dataset.filled else traded(reader, asked, limit)
    is_final = finals(rows, held.of(dataset.table, asked.table, asked.at), asked)
    columns = {**{name: rows[name] for name in rows.column_names}, "final": pa.array(is_final)}
    names = dataset.record.columns
    return pa.table([columns[name] for name in names], names=names).cast(dataset.record.schema)


def traded(reader: LakeReader, asked: Asked, limit: int) -> pa.Table:
    """At most ``limit`` candles behind ``asked.after``: windows with trades alone, as tables do."""
    dataset = cast("CandleSet", asked.dataset)
    if dataset.consolidated:
        return consolidated_rows(reader, asked, limit)
    return (
        stored_rows(reader, asked, limit) if dataset.stored else derived_rows(reader, asked, limit)
    )


def stored_rows(reader: LakeReader, asked: Asked, limit: int) -> pa.Table:
    """The same of windows that the table holds."""
    found = CANDLE.schema.empty_table()
    for part in parts(asked):
        where, values = condition(part)
        rows = f"select * from {asked.newer.source()} where {where}"
        sql = f"{rows} order by {ordered(part)} limit $limit"
        inputs = asked.newer.inputs(plan(reader, part))
        found = reader.arrow(sql, inputs, {**values, "limit": limit}, asked.table)
        if found.num_rows >= limit:
            break
    return found.select(CANDLE.columns).cast(CANDLE.schema)


def cursor_behind(asked: Asked, key: Key) -> str:
    """The cursor behind the window with that key."""
    exchange, symbol, us = key
    snapshot = None if asked.at is None else asked.at.snapshot_id
    behind = cursors.after(asked.start, (exchange, symbol, EPOCH + us * US), snapshot)
    return cursors.encode(behind, asked.text)


def _filled(reader: LakeReader, asked: Asked, limit: int) -> pa.Table:
    grain = cast("CandleSet", asked.dataset).grain
    after = _key(asked)
    # One row more than is answered tells the close that comes before the last of them.
    rows = traded(reader, asked, limit + 1)
    if after is not None and not asked.descending:
        rows = pa.concat_tables([_last_known(reader, asked, after), rows])
    return with_empty(rows, grain, after, limit, descending=asked.descending)


def _last_known(reader: LakeReader, asked: Asked, after: Key) -> pa.Table:
    """The newest candle of the instrument of ``after`` that does not come behind it, if any."""
    exchange, symbol, us = after
    only = asked.exchanges if cast("CandleSet", asked.dataset).consolidated else (exchange,)
    before = (exchange, symbol, EPOCH + (us + 1) * US)
    one = replace(asked, exchanges=only, symbols=(symbol,), after=before, descending=True)
    return traded(reader, one, 1)


def _key(asked: Asked) -> Key | None:
    if asked.after is None:
        return None
    exchange, symbol, at = asked.after
    return str(exchange), str(symbol), micros(cast("datetime", at))
