-- Input: rows (as gap_rows gives them), edges. Output: of each symbol the row nearest to its edge,
-- of those {beyond} it: in the order {order}, the first.
select exchange, symbol, first_id, last_id, timestamp, ingestion_timestamp, epoch, kafka_partition,
  kafka_offset
from (
  select r.*, row_number() over (partition by r.exchange, r.symbol order by {order}) as place
  from ({rows}) r join edges e on r.exchange = e.exchange and r.symbol = e.symbol
  where {beyond}) ranked
where place = 1
