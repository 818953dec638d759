-- Input: trades (each once). Output: candles of {us} microseconds, traded windows only.
-- A trade belongs to floor(timestamp / length), labelled by the start. Open and close go by
-- source_sequence, for most trades share their millisecond with another. Only trades that the
-- exchange itself counts are in. Sums are exact: price is widened before it is multiplied.
with t as (
  select exchange, symbol, trade_id, source_sequence, price, quantity, trade_count,
    cast(price as decimal(28,8)) * quantity as quote,
    side = 'buy' as taker_buys,
    unix_micros(timestamp) - unix_micros(timestamp) % {us} as us
  from {source}
  where candle_eligible),
g as (
  select exchange, symbol, us,
    min_by(price, source_sequence) as open, max(price) as high, min(price) as low,
    max_by(price, source_sequence) as close,
    sum(quantity) as volume, sum(quote) as quote_volume,
    sum(case when taker_buys then quantity else cast(0 as decimal(28,8)) end) as taker_buy_volume,
    sum(case when taker_buys then quote else cast(0 as decimal(38,16)) end) as taker_buy_quote_volume,
    sum(trade_count) as trade_count,
    min_by(trade_id, source_sequence) as first_trade_id,
    max_by(trade_id, source_sequence) as last_trade_id
  from t group by exchange, symbol, us)
