-- Inputs: source (trades) and window_ (one row). Output: the trades of its symbol that are in it.
select s.*
from source s
join window_ w
  on s.exchange = w.exchange and s.symbol = w.symbol
  and s.timestamp >= w.first and s.timestamp < w.until
