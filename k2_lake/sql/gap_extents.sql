-- Input: rows (as gap_rows gives them). Output: for each symbol what they span in ids and in time.
select exchange, symbol, min(first_id) as lo, max(last_id) as hi,
  min(timestamp) as earliest, max(timestamp) as latest
from ({rows}) r
group by exchange, symbol
