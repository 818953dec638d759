"""Candles against what they are made of: the sums of trades, and what minutes make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

from pyiceberg.expressions import And

from k2_lake.candles import candle_sql, computed
from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.history import WINDOWS
from k2_lake.retained import gone
from k2_lake.scan import between, of_day, planned
from k2_lake.scope import Scope, Verdict, retired_verdict
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.records import CANDLE, TRADE
from k2_market.timeframes import day_bounds, timeframe

_DIFFERING = """
select count(*) as n from (
  (select * from ours except all select * from expected)
  union all (select * from expected except all select * from ours)) d
"""
_CANDLE_SUMS = """
select sum(trade_count) as trades, sum(volume) as volume, sum(quote_volume) as quote
from source
where window_start >= timestamp '{start}' and window_start < timestamp '{end}'
"""
_TRADE_SUMS = """
select sum(trade_count) as trades, sum(quantity) as volume,
  sum(cast(price as decimal(28,8)) * quantity) as quote
from source
where candle_eligible and timestamp >= timestamp '{start}' and timestamp < timestamp '{end}'
"""


def minutes_reconciled(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
    """The 1m candles in scope sum up to the eligible trades of their windows.

    After a tick only the stretch that its windows reach over is summed, so that the check too costs
    what is new.
    """
    table, source = lake.table(scope.table), lake.table(TRADES_TABLE)
    if dropped := gone([table, source], scope.day):
        return retired_verdict(dropped)
    start, end = _stretch(lake, scope)
    day = And(of_day("window_date", scope.day), between("window_start", start, end))
    candles = planned(table, CANDLE.schema, day)
    day = And(of_day("trade_date", scope.day), between("timestamp", start, end))
    trades = planned(source, TRADE.schema, day)
    reach = {"start": start.isoformat(), "end": end.isoformat()}
    ours = engine.query(_CANDLE_SUMS.format(**reach), {"source": candles}).to_pylist()[0]
    theirs = engine.query(_TRADE_SUMS.format(**reach), {"source": trades}).to_pylist()[0]
    same = all(_decimal(ours[k]) == _decimal(theirs[k]) for k in ours)
    return Verdict(same, {**reach, **_text("candles", ours), **_text("source", theirs)})


def _stretch(lake: Lake, scope: Scope) -> tuple[datetime, datetime]:
    """From the first window that the commits in scope computed to the end of the last."""
    changes = scope.changes(lake)
    told = [c.properties.get(WINDOWS) for c in changes]
    if not changes or None in told:
        return day_bounds(scope.day)
    bounds = [[datetime.fromisoformat(t) for t in json.loads(w)] for w in told if w is not None]
    return min(b[0] for b in bounds), max(b[1] for b in bounds)


def rollup_reconciled(lake: Lake, engine: Engine, day: date, name: str) -> Verdict:
    """The day's candles of a coarser timeframe are what its 1m candles make. Raises UnknownName."""
    table, finest = lake.table(candle_name(name)), lake.table(candle_name("1m"))
    if dropped := gone([table, finest], day):
        return retired_verdict(dropped)
    candles = planned(table, CANDLE.schema, of_day("window_date", day))
    minutes = planned(finest, CANDLE.schema, of_day("window_date", day))
    expected = computed(engine, candle_sql(timeframe(name)), {"candles": minutes})
    found = engine.query(_DIFFERING, {"ours": candles, "expected": expected}).to_pylist()[0]["n"]
    return Verdict(
        not found, {"candles": candles.rows, "expected": expected.num_rows, "differing": found}
    )


def _decimal(value: object) -> Decimal:
    return Decimal(0) if value is None else Decimal(str(value))


def _text(prefix: str, row: Mapping[str, object]) -> dict[str, str]:
    return {f"{prefix}_{k}": str(v) for k, v in row.items()}
