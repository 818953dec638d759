"""A lake of many days of trades with their candles, compacted as the product does it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from benchmarks.figures import Progress
from benchmarks.market import Market
from benchmarks.stages import new_lake
from k2_lake.candles import build_candles
from k2_lake.commit import commit
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.history import Mode
from k2_lake.maintenance.compaction import compact
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import InvariantBroken
from k2_market.records import TRADE
from k2_market.timeframes import TIMEFRAMES

FIRST = date(2024, 8, 1)
# As many as ticks leave of a busy day, and each small enough for compaction to take it.
COMMITS_A_DAY, FILES_A_COMMIT = 4, 5
_DAY_US = 86_400_000_000


class GrowingLake:
    """Days of ``a_day`` trades of eight symbols each, evenly over the day."""

    def __init__(self, home: Path, a_day: int) -> None:
        self.home, self.a_day, self.days = home, a_day, 0
        self.lake, self._engine = new_lake(home), DuckDBEngine()

    @property
    def trades(self) -> int:
        """All there are."""
        return self.a_day * self.days

    @property
    def start(self) -> datetime:
        """Midnight of the first day."""
        return datetime.combine(FIRST, time.min, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """Midnight after the last day."""
        return self.start + timedelta(days=self.days)

    def grow(self, trades: int, tell: Progress) -> None:
        """Add days until there are so many trades."""
        while self.trades < trades:
            tell(f"{self.trades:,} of {trades:,} trades")
            self._add_day(FIRST + timedelta(days=self.days))
            self.days += 1

    def _add_day(self, day: date) -> None:
        market, table = Market(day, _DAY_US // self.a_day), self.lake.table(TRADES_TABLE)
        size = self.a_day // (COMMITS_A_DAY * FILES_A_COMMIT)
        order = [(column, "ascending") for column in TRADE.order]
        for number in range(COMMITS_A_DAY):
            parts = range(number * FILES_A_COMMIT, (number + 1) * FILES_A_COMMIT)
            added = [market.trades(n * size, size, day).sort_by(order) for n in parts]
            commit(table, add=added, mode=Mode.APPEND, days=[day])
        self._compact(day)
        for name in TIMEFRAMES:
            build_candles(self.lake, self._engine, name, day)

    def _compact(self, day: date) -> None:
        today = day + timedelta(days=1)
        deeds = compact(self.lake, self._engine, TRADES_TABLE, today=today, quiet=timedelta(0))
        if [deed.day for deed in deeds] != [day]:
            raise InvariantBroken(f"{day} was not compacted")
