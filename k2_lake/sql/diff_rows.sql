-- Follows diff.sql. Output: the rows that differ.
select * from d
