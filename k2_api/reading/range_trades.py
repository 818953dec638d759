"""The trades of a range: of the table, and those that it lacks; only what exchanges count."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from k2_api.reading.asked import Asked
from k2_api.reading.joined import lacking
from k2_api.reading.reader import LakeReader
from k2_api.reading.statements import condition, plan
from k2_lake.engine import Input
from k2_lake.retained import retained
from k2_market.errors import TooLarge, UsageError
from k2_market.records import TRADE

# The files that are read have so many rows at most; it takes some two seconds.
MOST_TRADES = 30_000_000

COLUMNS = (
    "exchange, symbol, trade_id, source_sequence, timestamp, price, quantity, side, trade_count, "
    "candle_eligible"
)


@dataclass(frozen=True)
class RangeTrades:
    """SQL of the trades, what its names stand for, and the values of its parameters."""

    sql: str
    inputs: dict[str, Input]
    values: dict[str, object]


def range_trades(
    reader: LakeReader,
    asked: Asked,
    start: datetime,
    end: datetime,
    look_back: timedelta = timedelta(0),
) -> RangeTrades:
    """The eligible trades of the question in [start, end), and so far back as there are any.

    Raises LakeUnavailable, TooLarge, and UsageError where the table does not hold them any more.
    """
    _require_held(asked, start.date())
    start -= look_back
    within = replace(asked, start=start, end=end)
    files = plan(reader, within)
    if files.rows > MOST_TRADES:
        raise TooLarge(
            f"the range would be looked for among {files.rows:,} trades; {MOST_TRADES:,} may be "
            "read for an answer. Ask for a shorter range (start, end) or fewer exchanges."
        )
    where, values = condition(within)
    inputs: dict[str, Input] = {"rows": files, "tail": TRADE.schema.empty_table()}
    if asked.tail is not None:
        newer = asked.tail.rows(asked.symbols or None, start, end)
        inputs["tail"] = lacking(reader, within, newer) if newer.num_rows else newer
    sql = (
        f"(select {COLUMNS} from {{rows}} where {where} and candle_eligible "
        f"union all by name select {COLUMNS} from {{tail}} where candle_eligible)"
    )
    return RangeTrades(sql, inputs, values)


def _require_held(asked: Asked, day: date) -> None:
    if asked.table is None or asked.at is not None:
        return
    held = retained(asked.table)
    if not held.holds(day):
        raise UsageError(
            f"start: the trades of {day} are not kept any more; {asked.dataset.table} begins with "
            f"{held.start}. Ask for a later range, or for candles of whole minutes."
        )
