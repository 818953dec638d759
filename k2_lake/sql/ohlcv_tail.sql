-- The end of both candle statements: from the sums in g to the columns of a candle. {end} is the end
-- of the window that begins at us.
-- vwap is quote_volume / volume cut after eight decimals. `/` on decimals differs by engine, so a
-- double estimates it, the exact remainder refines the estimate (a double has too few digits for
-- prices above 10^7) and then settles the last digit. An estimate may be off upwards: of the largest
-- prices it is kept within what a price holds, and where it is refined there is room above that.
-- Exact for a quote_volume below 5 * 10^21, beyond which a product may not fit: that is an error.
, e0 as (
  select *,
    cast(least(cast(quote_volume as double) / cast(volume as double), cast(9999999999 as double))
      as decimal(18,8)) as v0
  from g),
e1 as (select *, quote_volume - v0 * cast(volume as decimal(38,8)) as rem0 from e0),
e as (
  select *,
    cast(v0 + cast(cast(rem0 as double) / cast(volume as double) as decimal(18,8)) as decimal(20,8)) as v1
  from e1),
r as (select *, quote_volume - v1 * cast(volume as decimal(38,8)) as rem from e)
select exchange, symbol,
  timestamp_micros(us) as window_start, timestamp_micros({end}) as window_end,
  open, high, low, close,
  cast(volume as decimal(38,8)) as volume,
  cast(quote_volume as decimal(38,16)) as quote_volume,
  cast(taker_buy_volume as decimal(38,8)) as taker_buy_volume,
  cast(taker_buy_quote_volume as decimal(38,16)) as taker_buy_quote_volume,
  cast(case
    when rem < 0 then v1 - cast(0.00000001 as decimal(18,8))
    when rem >= cast(volume as decimal(38,8)) * cast(0.00000001 as decimal(9,8))
      then v1 + cast(0.00000001 as decimal(18,8))
    else v1 end as decimal(18,8)) as vwap,
  cast(trade_count as bigint) as trade_count, first_trade_id, last_trade_id,
  cast(timestamp_micros(us) as date) as window_date
from r
order by exchange, symbol, window_start
