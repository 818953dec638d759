-- Input: rows (as gap_rows gives them), windows. Output: the rows in the window of their symbol.
select r.*
from ({rows}) r join windows w on r.exchange = w.exchange and r.symbol = w.symbol
where r.timestamp >= w.earliest and r.timestamp <= w.latest
