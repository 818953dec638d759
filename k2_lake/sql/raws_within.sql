-- Input: trades (each once), raw and aggregated. Output: every aggregated one with the range of ids
-- it stands for, after `before` up to `last`, and how many trades of that range are there raw.
-- An aggregated trade carries the last id as its source_sequence; a raw one its own.
with raws as (
  select distinct exchange, symbol, source_sequence as place from trades
  where trade_id not like '{aggregated}%'),
aggregates as (
  select exchange, symbol, trade_id, trade_count, source_sequence as last,
    source_sequence - trade_count as before
  from trades where trade_id like '{aggregated}%'),
marks as (
  select exchange, symbol, place, 1 as n from raws
  union all select exchange, symbol, last, 0 from aggregates
  union all select exchange, symbol, before, 0 from aggregates),
counted as (
  select distinct exchange, symbol, place,
    sum(n) over (partition by exchange, symbol order by place) as up_to
  from marks)
select a.exchange, a.symbol, a.trade_id, a.before, a.last, a.trade_count,
  cast(e.up_to - b.up_to as bigint) as found
from aggregates a
join counted e on e.exchange = a.exchange and e.symbol = a.symbol and e.place = a.last
join counted b on b.exchange = a.exchange and b.symbol = a.symbol and b.place = a.before
