-- Input: frames (bronze of one exchange and kind). Output: of each live connection and symbol on a
-- day of arrival when it was heard, and which of the connection's frames there are.
select connection_id, exchange_symbol, min(received_at) as first_at, max(received_at) as last_at,
  min(sequence) as first_sequence, max(sequence) as last_sequence,
  count(distinct sequence) as frames
from frames
where origin = 'live' and ingest_date = date '{day}'
group by connection_id, exchange_symbol
