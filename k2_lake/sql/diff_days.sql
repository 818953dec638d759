-- Follows diff.sql. Output: how many rows of each day differ, and how.
select day, count(*) filter (where before is null) as added,
  count(*) filter (where after is null) as removed,
  count(*) filter (where before is not null and after is not null) as changed
from (select {day} as day, before, after from d) e
group by day order by day
