-- Input: trades. Output: what each stands for, a range of the exchange's consecutive trade ids, and
-- where it came from. An aggregated trade stands for trade_count ids and is ordered by its last.
-- Trades without an id of the exchange's (files of time and sales) are left out.
select exchange, symbol, source_sequence - trade_count + 1 as first_id, source_sequence as last_id,
  timestamp, ingestion_timestamp, epoch, kafka_partition, kafka_offset
from trades
where (trade_id like 'agg:%' or trade_id = cast(source_sequence as string))
