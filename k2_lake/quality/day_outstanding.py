"""What the tables have not taken in yet of a day: until then its condition is not known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from k2_lake.candles import pending_days as candles_pending
from k2_lake.catalog import Lake
from k2_lake.gold import pending_days as gold_pending
from k2_lake.history import Consumed, changes_since, consumed
from k2_lake.quality.gaps import pending_days as gaps_pending
from k2_lake.tables import GAPS_TABLE, bronze_name, candle_name, gold_name, silver_name
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES

Outstanding = Mapping[tuple[str, Kind], tuple[str, ...]]


def outstanding(lake: Lake, day: date) -> Outstanding:
    """By exchange and kind, what is on its way through the tables, in words; nothing in most."""
    found = {}
    for kind in Kind:
        arriving = gold_pending(lake, kind).get(day, "").split()
        behind = tuple(_made_of_trades(lake, day)) if kind is Kind.TRADES else ()
        for exchange in EXCHANGES:
            silver = silver_name(exchange, kind)
            reasons = []
            if _unparsed(lake, exchange, kind, day):
                reasons.append(f"{silver} lacks frames that have arrived")
            if any(change.startswith(f"{silver}@") for change in arriving):
                reasons.append(f"{gold_name(kind)} lacks rows of {silver}")
            if reasons or behind:
                found[exchange, kind] = (*reasons, *behind)
    return found


def _unparsed(lake: Lake, exchange: str, kind: Kind, day: date) -> bool:
    """Whether frames wait that arrived on that day: what day they tell of is not known yet."""
    source = bronze_name(exchange, kind)
    done = consumed(lake.table(silver_name(exchange, kind))).get(source, Consumed())
    return any(day in change.days for change in changes_since(lake.table(source), done.through))


def _made_of_trades(lake: Lake, day: date) -> list[str]:
    found = [
        f"{candle_name(name)} is behind"
        for name in TIMEFRAMES
        if day in candles_pending(lake, name)
    ]
    return [*found, f"{GAPS_TABLE} is behind"] if day in gaps_pending(lake) else found
