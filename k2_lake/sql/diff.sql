-- Inputs: old and new, rows of files that the other snapshot does not have. Output: d, a row for each
-- row that differs. Equal rows cancel as often as both have them; of what is left, the n-th row of a
-- key before and the n-th of it after are one row that changed.
with gone as (select {columns} from old except all select {columns} from new),
come as (select {columns} from new except all select {columns} from old),
b as (
  select {keys}, row_number() over (partition by {keys}) as copy, gone as before
  from gone),
a as (
  select {keys}, row_number() over (partition by {keys}) as copy, come as after
  from come),
d as (
  select {either}, coalesce(b.copy, a.copy) as copy, b.before, a.after
  from b full outer join a on {same} and b.copy = a.copy)
