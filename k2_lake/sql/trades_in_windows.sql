-- Inputs: trades, touched (windows). Output: the trades in those windows. The bounds on time are
-- redundant; with them whole row groups are skipped.
select t.*
from trades t
join touched w
  on t.exchange = w.exchange and t.symbol = w.symbol
  and unix_micros(t.timestamp) - unix_micros(t.timestamp) % {us} = w.us
where t.timestamp >= timestamp '{start}' and t.timestamp < timestamp '{end}'
