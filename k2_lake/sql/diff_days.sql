-- Follows diff.sql. Output: how many rows of each day differ, and how.
select day, count(*) filter (where not was) as added, count(*) filter (where not became) as removed,
  count(*) filter (where was and became) as changed
from (select {day} as day, was, became from d) e
group by day order by day
