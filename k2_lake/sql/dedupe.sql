-- Input: incoming (trades or quotes, in any order, with repeats). Output: every one once.
-- Of repeats the one received first stays; equal times are settled by Kafka's order. Both are
-- properties of the rows, so the order of arrival and the number of runs do not matter.
select {columns}
from (
  select *,
    row_number() over (
      partition by exchange, symbol, {id}
      order by ingestion_timestamp, epoch, kafka_partition, kafka_offset, frame_index) as arrival
  from incoming) ranked
where arrival = 1
order by symbol, timestamp, source_sequence, {id}
