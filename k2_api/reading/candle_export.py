"""All candles of a question: how many they are, and the rows one after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

import pyarrow as pa

from k2_api.questions.timeframes import EPOCH, US, Grain, LocalGrain
from k2_api.reading.asked import Asked
from k2_api.reading.candle_files import CandleFiles
from k2_api.reading.candle_set import CONSOLIDATED, CandleSet, micros
from k2_api.reading.candles import candles
from k2_api.reading.current import keys_of
from k2_api.reading.derived import rollup, whole
from k2_api.reading.export import MAX_EXPORT_ROWS, require_few
from k2_api.reading.reader import LakeReader
from k2_api.reading.statements import condition, plan
from k2_api.reading.symbols import Instrument

# Some 12 MB.
BATCH_ROWS = 50_000

_COUNTED = (
    "select exchange, symbol, count(distinct window_start), min(window_start), max(window_start) "
    "from %s group by exchange, symbol"
)


def count_candles(reader: LakeReader, asked: Asked) -> int:
    """How many rows the question has, empty windows included where they are filled.

    Raises LakeUnavailable, TooLarge.
    """
    dataset = cast("CandleSet", asked.dataset)
    if dataset.stored:
        where, values = condition(replace(asked, after=None))
        rows, files = f"(select * from {asked.newer.source()} where {where})", plan(reader, asked)
    else:
        part, files = whole(reader, asked)
        if part.low >= part.high:
            return 0
        made = rollup(part)
        rows, values = f"({made.sql})", made.values
    if dataset.consolidated:
        rows = f"(select * replace ('{CONSOLIDATED}' as exchange) from {rows})"
    found = reader.arrow(_COUNTED % rows, asked.newer.inputs(files), values, asked.table)
    counts = zip(*(column.to_pylist() for column in found.columns[2:]), strict=True)
    if not dataset.filled:
        return sum(cast("int", n) for n, _, _ in counts)
    reach = (cast("tuple[datetime, datetime]", (low, high)) for _, low, high in counts)
    return sum(_windows(dataset.grain, micros(low), micros(high)) for low, high in reach)


def require_bounded(reader: LakeReader, asked: Asked, limit: int | None) -> None:
    """Raise TooLarge where the question has more rows than one answer may have."""
    dataset = cast("CandleSet", asked.dataset)
    few = dataset.stored and not dataset.filled and plan(reader, asked).rows <= MAX_EXPORT_ROWS
    if limit is None and not few:
        require_few(count_candles(reader, asked))


def candle_batches(
    reader: LakeReader,
    files: CandleFiles,
    asked: Asked,
    instruments: Sequence[Instrument],
    limit: int | None,
) -> Generator[pa.RecordBatch, None, None]:
    """The rows in their order, at most ``limit``, all of the state that the question was asked of.

    ``instruments`` are those that may have rows. Raises LakeUnavailable, TooLarge.
    """
    left = limit
    for one in _by_instrument(asked, instruments):
        for rows in _pages(reader, files, one):
            taken = rows if left is None else rows.slice(0, left)
            yield from taken.to_batches()
            left = None if left is None else left - taken.num_rows
            if left == 0:
                return


def _pages(reader: LakeReader, files: CandleFiles, asked: Asked) -> Iterator[pa.Table]:
    while True:
        rows = candles(reader, files, asked, BATCH_ROWS)
        yield rows.select(asked.fields)
        if rows.num_rows < BATCH_ROWS:
            return
        exchange, symbol, us = keys_of(rows.slice(BATCH_ROWS - 1))[0]
        asked = replace(asked, after=(exchange, symbol, EPOCH + us * US))


def _by_instrument(asked: Asked, instruments: Sequence[Instrument]) -> Iterator[Asked]:
    """The question of one instrument after the other: a page of one reads no more than it needs."""
    if cast("CandleSet", asked.dataset).consolidated:
        yield asked
        return
    named = {(i.exchange, i.symbol) for i in instruments}
    named |= {(exchange, symbol) for exchange, symbol, _ in keys_of(asked.newer.rows)}
    for exchange, symbol in sorted(named, reverse=asked.descending):
        of_it = (not asked.exchanges or exchange in asked.exchanges) and (
            not asked.symbols or symbol in asked.symbols
        )
        if of_it:
            yield replace(asked, exchanges=(exchange,), symbols=(symbol,))


def _windows(grain: Grain, low: int, high: int) -> int:
    """How many windows begin from ``low`` to ``high``, both of which do."""
    if isinstance(grain, LocalGrain):
        return sum(1 for _ in grain.starts(low, high + 1))
    return (high - low) // grain.micros + 1
