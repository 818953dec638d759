-- Inputs: existing (trades) and replaced (trades). Output: existing without those in replaced.
select {columns}
from existing e
where not exists (
  select 1 from replaced r
  where r.exchange = e.exchange and r.symbol = e.symbol and r.trade_id = e.trade_id)
order by e.symbol, e.timestamp, e.source_sequence, e.trade_id
