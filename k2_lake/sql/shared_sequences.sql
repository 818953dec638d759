-- Inputs: incoming and existing (rows already in gold). Output: how many of existing have the
-- source_sequence of an incoming row. A repeat has that of the row it repeats, so where there is
-- none nothing is repeated, and only this one column of a full day has been read.
select count(*) as n
from existing
where source_sequence in (select source_sequence from incoming)
