-- Inputs: incoming (each row once) and existing (rows already in gold). Output: incoming rows that
-- gold lacks, and those that were received before the one that gold has; `replaces` tells.
select {columns}, e.{id} is not null as replaces
from incoming i
left join existing e
  on i.exchange = e.exchange and i.symbol = e.symbol and i.{id} = e.{id}
where e.{id} is null
  or (i.ingestion_timestamp, i.epoch, i.kafka_partition, i.kafka_offset, i.frame_index)
   < (e.ingestion_timestamp, e.epoch, e.kafka_partition, e.kafka_offset, e.frame_index)
order by i.symbol, i.timestamp, i.source_sequence, i.{id}
