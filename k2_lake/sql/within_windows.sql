-- Inputs: rows (trades or candles), touched (windows of {us} microseconds). Output: the rows whose
-- time, {at}, falls into those windows. The bounds on time are redundant; with them whole row groups
-- are skipped.
select r.*
from rows r
join touched w
  on r.exchange = w.exchange and r.symbol = w.symbol
  and unix_micros(r.{at}) - unix_micros(r.{at}) % {us} = w.us
where r.{at} >= timestamp '{start}' and r.{at} < timestamp '{end}'
