"""Time-weighted average prices: each trade price counts for as long as it was the last one.

At the start of the range that is the price of the last trade before it, looked for within a day;
where there was none, time begins with the first trade of the range. Of trades at the same instant
the last by source_sequence counts, across exchanges the last by exchange and source_sequence.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from k2_api.reading.asked import Asked
from k2_api.reading.candle_set import CONSOLIDATED, micros
from k2_api.reading.range_trades import range_trades
from k2_api.reading.reader import LakeReader, Row

LOOK_BACK = timedelta(days=1)

# What counts for no time (before the start, all but the last) adds nothing.
_WEIGHTED = """
with t as (
  select {of} as exchange, symbol, price, unix_micros(timestamp) as traded_us,
    greatest(unix_micros(timestamp), $from_us) as us, exchange as venue, source_sequence
  from {trades}),
s as (
  select *, coalesce(
    lead(us) over (partition by exchange, symbol order by traded_us, venue, source_sequence),
    $until_us)
    - us as stood
  from t)
select exchange, symbol, sum(price * stood::decimal(19, 0)) as weighted, sum(stood)::bigint as us,
  count(*) filter (where traded_us >= $from_us) as trades
from s group by exchange, symbol having sum(stood) > 0 order by exchange, symbol
"""


def weighted_prices(
    reader: LakeReader, asked: Asked, start: datetime, end: datetime, *, consolidated: bool
) -> list[Row]:
    """By exchange and symbol: price x microseconds, microseconds, trades in [start, end).

    ``asked`` is of trades. Raises LakeUnavailable, TooLarge, UsageError.
    """
    trades = range_trades(reader, asked, start, end, LOOK_BACK)
    of = f"'{CONSOLIDATED}'" if consolidated else "exchange"
    sql = _WEIGHTED.replace("{of}", of).replace("{trades}", trades.sql)
    values = {**trades.values, "from_us": micros(start), "until_us": micros(end)}
    found = reader.arrow(sql, trades.inputs, values, asked.table)
    return [tuple(row.values()) for row in found.to_pylist()]
