-- Inputs: source and places (each once). Output: those rows of source that come from a frame at one
-- of the places, in the order of Kafka, or with {negation} = not those that do not.
select {columns}
from source s
where {negation} exists (
  select 1 from places p
  where p.epoch = s.epoch and p.kafka_partition = s.kafka_partition
    and p.kafka_offset = s.kafka_offset)
order by {order}
