-- Inputs: trades (each once) and within (see raws_within.sql). Output: the trades without those that
-- are there twice: an aggregated one gives way where all that it stands for is there raw; where some
-- is missing it stays, and what is there raw gives way. Raw trades that no candle counts always
-- stay, for no aggregated trade counts them either.
with partial as (
  select exchange, symbol, before, last from within where found > 0 and found < trade_count),
edges as (
  select exchange, symbol, before + 1 as place, 1 as step from partial
  union all select exchange, symbol, last + 1, -1 from partial
  union all select distinct exchange, symbol, source_sequence, 0 from trades),
depths as (
  select exchange, symbol, place,
    sum(step) over (partition by exchange, symbol order by place) as depth
  from edges),
inside as (select distinct exchange, symbol, place from depths where depth > 0)
select {columns}
from trades t
left join within w
  on w.exchange = t.exchange and w.symbol = t.symbol and w.trade_id = t.trade_id
left join inside i
  on i.exchange = t.exchange and i.symbol = t.symbol and i.place = t.source_sequence
where case
  when w.trade_id is not null then w.found < w.trade_count
  else i.place is null or not t.candle_eligible end
order by t.symbol, t.timestamp, t.source_sequence, t.trade_id
