-- Input: added (trades). Output: the windows of {us} microseconds that they fall into.
select distinct exchange, symbol, unix_micros(timestamp) - unix_micros(timestamp) % {us} as us
from added
