-- Input: candles of a finer timeframe that divides {us} microseconds. Output: candles of {us}.
-- Every figure is carried exactly, so the result equals candles made from the trades.
with t as (
  select *, unix_micros(window_start) - unix_micros(window_start) % {us} as us from {source}),
g as (
  select exchange, symbol, us,
    min_by(open, window_start) as open, max(high) as high, min(low) as low,
    max_by(close, window_start) as close,
    sum(volume) as volume, sum(quote_volume) as quote_volume,
    sum(taker_buy_volume) as taker_buy_volume,
    sum(taker_buy_quote_volume) as taker_buy_quote_volume,
    sum(trade_count) as trade_count,
    min_by(first_trade_id, window_start) as first_trade_id,
    max_by(last_trade_id, window_start) as last_trade_id
  from t group by exchange, symbol, us)
