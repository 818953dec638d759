-- Input: candles whose windows lie each within one of the coarser windows; {window} is the start of
-- that one in microseconds. Output: candles of the coarser windows. The first in the order of
-- {opened} opens, the last in that of {closed} closes.
-- Every figure is carried exactly, so the result equals candles made from the trades.
with t as (select *, {window} as us from {source}),
g as (
  select exchange, symbol, us,
    min_by(open, {opened}) as open, max(high) as high, min(low) as low,
    max_by(close, {closed}) as close,
    sum(volume) as volume, sum(quote_volume) as quote_volume,
    sum(taker_buy_volume) as taker_buy_volume,
    sum(taker_buy_quote_volume) as taker_buy_quote_volume,
    sum(trade_count) as trade_count,
    min_by(first_trade_id, {opened}) as first_trade_id,
    max_by(last_trade_id, {closed}) as last_trade_id
  from t group by exchange, symbol, us)
