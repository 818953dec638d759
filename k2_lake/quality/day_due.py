"""Which days' conditions are to be computed: what changed, what is over by now, what is unsaid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import EqualTo, GreaterThanOrEqual
from pyiceberg.table import Table
from pyiceberg.types import DateType
from pyiceberg.utils.datetime import days_to_date

from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.quality.day_condition import recorded, sources
from k2_lake.quality.day_expectation import (
    Configured,
    RecordedDays,
    Row,
    expectation,
    figures_of,
    instrumented,
    neighbours,
    recorded_days,
)
from k2_lake.quality.day_outstanding import outstanding
from k2_lake.retained import retained
from k2_lake.tables import CONDITION_TABLE, TRADES_TABLE, bronze_name
from k2_market.conditions import Circumstances, Condition, Instrumented, edges
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind

# Days that nobody speaks of are looked for so far back.
LOOKED_BACK = timedelta(days=45)

Due = Mapping[date, list[str]]


def due_days(lake: Lake, engine: Engine, today: date, configured: Configured) -> Due:
    """The days up to today whose conditions are to be computed, each with what there is to it."""
    found: dict[date, list[str]] = defaultdict(list)
    for name, source in sources(lake).items():
        for day, changes in source.done.pending(source.changes).items():
            found[day].append(f"{name}@{changes[-1].sequence}")
    table = lake.table(CONDITION_TABLE)
    for row in recorded(engine, table, EqualTo("condition", Condition.PENDING.value)):
        if row["condition"] == Condition.PENDING and row["day"] < today:
            found[row["day"]].append("pending")
    for day in [d for d, why in found.items() if set(why) == {"pending"}]:
        if outstanding(lake, day):
            # Nothing would come of it: its tables are at work still.
            del found[day]
    recent = recorded(engine, table, GreaterThanOrEqual("day", today - LOOKED_BACK))
    for day in unspoken(recent, today, configured):
        found[day].append("unspoken")
    kept = [retained(each) for each in (table, lake.table(TRADES_TABLE))]
    return {
        day: sorted(set(why))
        for day, why in sorted(found.items())
        if day <= today and all(each.holds(day) for each in kept)
    }


def unspoken(rows: Sequence[Row], today: date, configured: Configured) -> Iterator[date]:
    """Days of which a row should be there and is not, or of whose edges ids tell more by now.

    Of the last days, as ``rows`` tell of them.
    """
    days = recorded_days(rows)
    there: dict[date, set[Instrumented]] = defaultdict(set)
    for row in rows:
        there[row["day"]].add(instrumented(row))
    for back in range(LOOKED_BACK.days + 1):
        day = today - timedelta(days=back)
        unknown = (days.keys() | configured.on(day)) - there[day]
        if any(expectation(what, day, days, configured) for what in unknown):
            yield day
    yield from (row["day"] for row in rows if row["day"] < today and _edge_is_proved(row, days))


def first_arrival(lake: Lake) -> date | None:
    """The first day on which anything arrived, as far as bronze still has it."""
    names = [bronze_name(exchange, kind) for kind in Kind for exchange in EXCHANGES]
    bounds = [bound for name in names for bound in _lower_bounds(lake.table(name))]
    return days_to_date(min(bounds)) if bounds else None


def _lower_bounds(table: Table) -> list[int]:
    """The earliest day of each manifest, as days since 1970."""
    head = table.current_snapshot()
    manifests = [] if head is None else head.manifests(table.io)
    days = [summary for m in manifests for summary in (m.partitions or [])[:1]]
    return [int(from_bytes(DateType(), day.lower_bound)) for day in days if day.lower_bound]


def _edge_is_proved(row: Row, days: RecordedDays) -> bool:
    """Whether a silence at the edge of the day was held against it, and ids now prove it."""
    what = instrumented(row)
    if row["condition"] != Condition.DEGRADED or not what.proves_itself:
        return False
    before, after = neighbours(what, row["day"], days)
    now = Circumstances(before=before is not None, after=after is not None)
    told = edges(what, row["day"], figures_of(row), Circumstances())
    still = edges(what, row["day"], figures_of(row), now)
    return any(edge in row["reasons"] for edge in told if edge not in still)
