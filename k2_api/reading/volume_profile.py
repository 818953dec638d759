"""How much was traded at which prices."""

from __future__ import annotations

from datetime import datetime
from typing import cast

import pyarrow as pa

from k2_api.questions.aggregations import DEFAULT_BUCKETS, MOST_BUCKETS, ProfileParameters
from k2_api.reading.asked import Asked
from k2_api.reading.candle_set import CONSOLIDATED
from k2_api.reading.range_trades import range_trades
from k2_api.reading.reader import LakeReader
from k2_market.errors import TooLarge

# Prices have eight decimals: in units of the last they are whole numbers.
_UNITS = 100_000_000

# With a size buckets begin at its multiples, with a number at the lowest price.
_PROFILE = """
with t as (
  select {of} as exchange, symbol, (price::decimal(28, 8) * {units}::decimal(9, 0))::bigint as u,
    quantity,
    cast(price as decimal(28,8)) * quantity as quote, side = 'buy' as taker_buys, trade_count
  from {trades}),
s as (
  select exchange, symbol, min(u) as low,
    coalesce($size, greatest(1, (max(u) - min(u)) // $buckets + 1)) as size
  from t group by exchange, symbol),
b as (
  select t.*, s.size, (case when $size is null then s.low else 0 end)
    + (t.u - (case when $size is null then s.low else 0 end)) // s.size * s.size as begins
  from t join s on t.exchange = s.exchange and t.symbol = s.symbol)
select exchange, symbol,
  (begins::decimal(19, 0) * 0.00000001::decimal(9, 8))::decimal(28, 8) as price_low,
  ((begins + size)::decimal(19, 0) * 0.00000001::decimal(9, 8))::decimal(28, 8) as price_high,
  sum(quantity)::decimal(38, 8) as volume,
  sum(quote)::decimal(38, 16) as quote_volume,
  sum(case when taker_buys then quantity else 0 end)::decimal(38, 8) as taker_buy_volume,
  sum(trade_count)::bigint as trade_count
from b group by exchange, symbol, begins, size order by exchange, symbol, begins limit $most
"""


def volume_profile(reader: LakeReader, asked: Asked, said: ProfileParameters) -> pa.Table:
    """The buckets with trades in the range, by exchange, symbol and price.

    ``asked`` is of trades. Raises LakeUnavailable, TooLarge, UsageError.
    """
    start, end = cast("tuple[datetime, datetime]", (asked.start, asked.end))
    trades = range_trades(reader, asked, start, end)
    of = f"'{CONSOLIDATED}'" if said.consolidated else "exchange"
    sql = _PROFILE.replace("{of}", of).replace("{trades}", trades.sql)
    most = MOST_BUCKETS * 4
    values = {
        **trades.values,
        "size": None if said.bucket is None else int(said.bucket * _UNITS),
        "buckets": said.buckets or DEFAULT_BUCKETS,
        "most": most + 1,
    }
    found = reader.arrow(sql.replace("{units}", str(_UNITS)), trades.inputs, values, asked.table)
    of_each = found.group_by(["exchange", "symbol"]).aggregate([([], "count_all")])
    counts = of_each["count_all"].to_pylist()
    if found.num_rows > most or any(n > MOST_BUCKETS for n in counts if n is not None):
        raise TooLarge(
            f"bucket: there would be more than {MOST_BUCKETS} buckets of an instrument, or "
            f"{most:,} in all. Give a larger size, or with buckets their number."
        )
    return found
