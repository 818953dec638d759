"""One candle of a range of any two instants, exactly that of its trades.

Whole minutes are taken from their candles, the parts of a minute at either end from the trades. A
past state is made from trades alone, for tables of another kind have other snapshots.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa

from k2_api.questions.timeframes import EPOCH
from k2_api.reading.asked import Asked
from k2_api.reading.candle_set import micros
from k2_api.reading.consolidated import times_of, together
from k2_api.reading.current import TIMES, Newer
from k2_api.reading.datasets import Dataset
from k2_api.reading.derived import MOST_READ, Part
from k2_api.reading.range_trades import range_trades
from k2_api.reading.reader import LakeReader
from k2_api.reading.statements import condition, plan
from k2_lake.candles import candle_sql, rollup_sql
from k2_lake.tables import candle_name
from k2_market.errors import TooLarge
from k2_market.exchanges import EXCHANGES
from k2_market.records import CANDLE
from k2_market.timeframes import TIMEFRAMES

MINUTE = TIMEFRAMES["1m"]
MINUTES = Dataset(
    candle_name(MINUTE.name), ("exchange", "symbol", "window_start"), "window_start", in_days=True
)
_COLUMNS = ", ".join(CANDLE.columns)


def range_candles(
    reader: LakeReader, asked: Asked, start: datetime, end: datetime, newer: Newer
) -> pa.Table:
    """The candle of [start, end) of each exchange and symbol that the question names.

    ``asked`` is of trades, ``newer`` what stored minutes do not tell yet. Raises LakeUnavailable,
    TooLarge, UsageError.
    """
    first, last = _ceil(start), _floor(end)
    if asked.at is not None or first >= last:
        minutes = replace(asked, dataset=MINUTES, table=None, start=end, end=end, newer=Newer())
        ends = [(start, end)]
    else:
        table = reader.table(MINUTES.table)
        minutes = replace(
            asked, dataset=MINUTES, table=table, start=first, end=last, newer=newer, tail=None
        )
        _require_bounded(minutes, (last - first) // MINUTE.length)
        ends = [(a, b) for a, b in ((start, first), (last, end)) if a < b]
    parts = [CANDLE.schema.empty_table(), *(_minutes(reader, asked, a, b) for a, b in ends)]
    where, values = condition(minutes)
    source = (
        f"(select {_COLUMNS} from {minutes.newer.source()} where {where} "
        f"union all by name select {_COLUMNS} from {{ends}})"
    )
    sql = rollup_sql(f"{micros(start)}::bigint", f"{micros(end)}::bigint", source)
    inputs = {**minutes.newer.inputs(plan(reader, minutes)), "ends": pa.concat_tables(parts)}
    made = reader.arrow(sql, inputs, values, minutes.table)
    return made.select(CANDLE.columns).cast(CANDLE.schema)


def across(reader: LakeReader, asked: Asked, each: pa.Table, *, times: bool) -> pa.Table:
    """One candle for a symbol; without ``times`` what opens and closes it is left to names."""
    if not times:
        return together(reader, each, TIMES.empty_table())
    whole = Part(asked, micros(asked.start or EPOCH), micros(asked.end or EPOCH))
    return together(reader, each, times_of(reader, whole, each))


def _minutes(reader: LakeReader, asked: Asked, start: datetime, end: datetime) -> pa.Table:
    """The candles of minutes, of which trades in [start, end) alone are taken."""
    trades = range_trades(reader, asked, start, end)
    sql = candle_sql(MINUTE, trades.sql)
    made = reader.arrow(sql, trades.inputs, trades.values, asked.table)
    return made.select(CANDLE.columns).cast(CANDLE.schema)


def _require_bounded(asked: Asked, minutes: int) -> None:
    candles = minutes * len(asked.symbols) * len(asked.exchanges or EXCHANGES)
    if candles > MOST_READ:
        raise TooLarge(
            f"the range has up to {candles:,} minutes of these symbols and exchanges, of which "
            f"{MOST_READ:,} may be read for an answer. Ask for a shorter range or for fewer."
        )


def _floor(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _ceil(at: datetime) -> datetime:
    floor = _floor(at)
    return floor if floor == at else floor + timedelta(minutes=1)
