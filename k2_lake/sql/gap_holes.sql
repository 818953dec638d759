-- Input: rows (as gap_rows gives them). Output: the ids that are missing between them, each stretch
-- with its neighbours' times and places in bronze.
select exchange, symbol, reach + 1 as first_missing_id, first_id - 1 as last_missing_id,
  before_at, timestamp as after_at, before_ingested, ingestion_timestamp as after_ingested,
  before_epoch, before_partition, before_offset,
  epoch as after_epoch, kafka_partition as after_partition, kafka_offset as after_offset
from (
  select *,
    max(last_id) over (partition by exchange, symbol order by first_id, last_id
      rows between unbounded preceding and 1 preceding) as reach,
    lag(timestamp) over (partition by exchange, symbol order by first_id, last_id) as before_at,
    lag(ingestion_timestamp) over
      (partition by exchange, symbol order by first_id, last_id) as before_ingested,
    lag(epoch) over (partition by exchange, symbol order by first_id, last_id) as before_epoch,
    lag(kafka_partition) over
      (partition by exchange, symbol order by first_id, last_id) as before_partition,
    lag(kafka_offset) over
      (partition by exchange, symbol order by first_id, last_id) as before_offset
  from rows) ordered
where first_id > reach + 1
order by exchange, symbol, first_missing_id
