-- Inputs: silver and trades (of gold). Output: the rows of silver that report one of the trades, in
-- the order in which gold would take them.
select {columns}
from silver s
where exists (
  select 1 from trades t
  where t.exchange = s.exchange and t.symbol = s.symbol and t.trade_id = s.trade_id)
order by s.source_sequence, s.trade_id, s.ingestion_timestamp, s.epoch, s.kafka_partition,
  s.kafka_offset, s.frame_index
