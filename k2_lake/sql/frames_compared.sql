-- Inputs: came (frames as Kafka holds them), held (frames of bronze). Output: the places of those that
-- bronze lacks, or has with another content.
select c.kafka_partition, c.kafka_offset, h.kafka_offset is null as missing
from came c
left join held h
  on h.epoch = {epoch} and h.kafka_partition = c.kafka_partition and h.kafka_offset = c.kafka_offset
where h.kafka_offset is null or h.payload <> c.payload or h.kafka_timestamp <> c.kafka_timestamp
  or h.exchange_symbol is distinct from c.exchange_symbol or h.received_at <> c.received_at
  or h.connection_id <> c.connection_id or h.sequence <> c.sequence or h.origin <> c.origin
order by c.kafka_partition, c.kafka_offset
