-- Inputs: old and new, rows of files that the other snapshot does not have. Output: d, a row for each
-- row that differs, `was` and `became` telling on which side it is. Equal rows cancel as often as
-- both have them; of what is left, the n-th row of a key before and the n-th of it after are one
-- row that changed. Maps are compared by their entries, for Spark does not compare maps.
with gone as (select {columns} from old except all select {columns} from new),
come as (select {columns} from new except all select {columns} from old),
b as (select *, row_number() over (partition by {keys} order by {keys}) as copy from gone),
a as (select *, row_number() over (partition by {keys} order by {keys}) as copy from come),
d as (
  select {either}, coalesce(b.copy, a.copy) as copy,
    b.copy is not null as was, a.copy is not null as became, {sides}
  from b full outer join a on {same} and b.copy = a.copy)
