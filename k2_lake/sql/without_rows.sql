-- Inputs: existing and replaced (rows of one kind). Output: existing without those in replaced.
select {columns}
from existing e
where not exists (
  select 1 from replaced r
  where r.exchange = e.exchange and r.symbol = e.symbol and r.{id} = e.{id})
order by e.symbol, e.timestamp, e.source_sequence, e.{id}
