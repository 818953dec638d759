-- Input: rejected, frames (bronze of that exchange and kind). Output: by symbol, null where the
-- frame does not tell, how many rows were rejected of what arrived on a day.
select f.exchange_symbol, count(*) as n
from rejected r
left join frames f on f.epoch = r.epoch and f.kafka_partition = r.kafka_partition
  and f.kafka_offset = r.kafka_offset
where r.exchange = '{exchange}' and r.kind = '{kind}' and r.ingest_date = date '{day}'
group by f.exchange_symbol
