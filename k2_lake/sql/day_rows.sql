-- Input: gold (trades or quotes). Output: of each symbol on a day the rows, the first, the last and
-- the longest silence in microseconds. Seconds go between: a sort of all rows would cost more than
-- all else, and silences within one second tell nothing.
with seconds as (
  select exchange, symbol, unix_micros(timestamp) - unix_micros(timestamp) % 1000000 as second,
    count(*) as n, min(timestamp) as first_at, max(timestamp) as last_at
  from gold
  where {day_column} = date '{day}'
  group by exchange, symbol, unix_micros(timestamp) - unix_micros(timestamp) % 1000000),
spaced as (
  select *, lag(last_at) over (partition by exchange, symbol order by second) as before_at
  from seconds)
select exchange, symbol, cast(sum(n) as bigint) as n, min(first_at) as first_at,
  max(last_at) as last_at,
  max(unix_micros(first_at) - unix_micros(before_at)) as longest_silence_us
from spaced
group by exchange, symbol
