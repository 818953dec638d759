"""The newest candles, for people to look at."""

from __future__ import annotations

from datetime import datetime

from pyiceberg.expressions import GreaterThanOrEqual

from k2_lake.catalog import Lake
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.scan import planned
from k2_lake.tables import candle_name
from k2_market.records import CANDLE

NEWEST = """
select exchange, symbol, strftime(window_start, '%H:%M') as utc, open, high, low, close, volume
from candles
where window_start > timestamptz '{since}'
qualify row_number() over (partition by exchange, symbol order by window_start desc) = 1
order by exchange, symbol
"""


def recent_candles(lake: Lake, since: datetime) -> list[dict[str, object]]:
    """The newest 1m candle of each symbol, numbers as plain text without idle zeros.

    Only windows that begin after ``since``: an older home has candles of other days.
    """
    day = GreaterThanOrEqual(CANDLE.day, since.date())
    files = planned(lake.table(candle_name("1m")), CANDLE.schema, day)
    sql = NEWEST.format(since=since.isoformat())
    rows = DuckDBEngine(io=lake.io).query(sql, {"candles": files}).to_pylist()
    return [{k: _plain(v) for k, v in row.items()} for row in rows]


def _plain(value: object) -> object:
    text = f"{value}"
    return text.rstrip("0").rstrip(".") if "." in text and text.replace(".", "").isdigit() else text
