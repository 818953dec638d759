-- Inputs: rejected and wanted (one row of conditions; a null asks for anything). Output: the
-- rejected rows that meet all of them. Days are those of arrival, both ends included.
select {columns}
from rejected r cross join wanted w
where (w.exchange is null or r.exchange = w.exchange)
  and (w.kind is null or r.kind = w.kind)
  and (w.reason is null or r.reason = w.reason)
  and (w.first_day is null or r.ingest_date >= w.first_day)
  and (w.last_day is null or r.ingest_date <= w.last_day)
  and (w.epoch is null or r.epoch = w.epoch)
  and (w.kafka_partition is null or r.kafka_partition = w.kafka_partition)
  and (w.kafka_offset is null or r.kafka_offset = w.kafka_offset)
  and (w.frame_index is null or r.frame_index = w.frame_index)
  and (w.text is null or position(lower(w.text) in lower(r.detail)) > 0)
