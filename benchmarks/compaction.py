"""``python -m benchmarks.compaction``: what compaction does for those who read.

A day of gold.trades grows by ticks to many small files, in many commits, and is compacted. The day
as it was before is still there, as of the snapshot before: so both are read in turn, by the same
process, and every ratio is of two measurements that stand beside one another. Times are those of
the processor: other work on the machine is not in them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import process_time
from typing import Annotated

import pyarrow as pa
import typer
from pyiceberg.expressions import And, EqualTo
from rich.console import Console

from benchmarks import report
from benchmarks.figures import Figure, Progress, Watch
from benchmarks.market import Market
from benchmarks.stages import new_lake
from k2_lake.candles import candle_sql
from k2_lake.catalog import Lake
from k2_lake.commit import commit
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.engine import Engine
from k2_lake.history import Mode
from k2_lake.maintenance.compaction import compact
from k2_lake.scan import Files, between, of_day, planned
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import InvariantBroken
from k2_market.maintenance import Deed
from k2_market.records import CANDLE, TRADE
from k2_market.timeframes import day_bounds, timeframe

RESULTS = Path(__file__).parent / "results" / "compaction.json"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
MARK = "compaction figures"
DAY = date(2024, 8, 8)
COMMITS = 48
SYMBOL = "ETH-USDT"
_HOUR = """
select * from trades
where symbol = '{symbol}' and timestamp >= '{start}' and timestamp < '{end}'
"""


def measure(files: int, trades: int, rounds: int, folder: Path, tell: Progress) -> list[Figure]:
    """The ratios of a day in ``files`` small files to the same day compacted."""
    lake, engine = new_lake(folder / "lake"), DuckDBEngine()
    tell(f"a day in {files} files")
    _fill(lake, files, trades)
    before = lake.table(TRADES_TABLE).current_snapshot()
    tell("compaction")
    [deed] = compact(lake, engine, TRADES_TABLE, today=DAY + timedelta(days=1), quiet=timedelta(0))
    assert before is not None
    watches = []
    for number in range(rounds + 1):
        tell(f"reading, round {number} of {rounds}")
        small, large = Watch(process_time), Watch(process_time)
        first = _read(lake, engine, small, before.snapshot_id)
        if not first.equals(_read(lake, engine, large, None)):
            raise InvariantBroken("candles of the compacted day differ from those before")
        watches.append((small, large))
    return _figures(watches[1:], deed)


def _fill(lake: Lake, files: int, trades: int) -> None:
    market, size = Market(DAY, step_us=86_400_000_000 // trades), trades // files
    arrived, per_commit = datetime.now(UTC).date(), -(-files // COMMITS)
    table = lake.table(TRADES_TABLE)
    for first in range(0, files, per_commit):
        numbers = range(first, min(first + per_commit, files))
        added = [market.trades(n * size, size, arrived) for n in numbers]
        commit(
            table,
            add=[rows.sort_by([(c, "ascending") for c in TRADE.order]) for rows in added],
            mode=Mode.APPEND,
            days=[DAY],
        )


def _read(lake: Lake, engine: Engine, watch: Watch, snapshot: int | None) -> pa.Table:
    """Plan and read the day as of a snapshot, or now; its candles."""
    table, start = lake.table(TRADES_TABLE), day_bounds(DAY)[0] + timedelta(hours=9)
    end = start + timedelta(hours=1)
    with watch("plan"):
        day = planned(table, TRADE.schema, of_day("trade_date", DAY), snapshot)
    with watch("candles"):
        candles = engine.query(candle_sql(timeframe("1m")), {"trades": day}, CANDLE.schema)
    with watch("hour"):
        near = And(EqualTo("symbol", SYMBOL), between("timestamp", start, end))
        _hour(engine, planned(table, TRADE.schema, near, snapshot), start, end)
    with watch("arrow"):
        table.scan(selected_fields=("symbol", "price", "quantity"), snapshot_id=snapshot).to_arrow()
    return candles


def _hour(engine: Engine, files: Files, start: datetime, end: datetime) -> None:
    sql = _HOUR.format(symbol=SYMBOL, start=start.isoformat(), end=end.isoformat())
    engine.query(sql, {"trades": files})


_SHOWN = {
    "plan": "planning the day",
    "candles": "1m candles of the day",
    "hour": "one symbol's hour",
    "arrow": "three columns through PyIceberg",
}


def _figures(watches: list[tuple[Watch, Watch]], deed: Deed) -> list[Figure]:
    def ratio(name: str) -> list[float]:
        return [small.seconds[name] / large.seconds[name] for small, large in watches]

    before, after = deed.before, deed.after
    return [
        Figure("small files of the day", "files", [float(before.files)]),
        Figure("files after compaction", "files", [float(after.files)]),
        Figure("bytes, before / after", "ratio", [before.bytes / after.bytes]),
        *(
            Figure(f"{shown}, before / after", "ratio", ratio(name))
            for name, shown in _SHOWN.items()
        ),
    ]


def main(
    files: Annotated[int, typer.Option(help="Small files of the day.", min=8)] = 288,
    trades: Annotated[int, typer.Option(help="Trades of the day.", min=1_000)] = 288_000,
    rounds: Annotated[int, typer.Option(help="How often each is measured.", min=1)] = 5,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = RESULTS,
) -> None:
    """Measure what compaction does for planning and queries, as ratios of one run."""
    console = Console(width=110) if not sys.stdout.isatty() else Console()
    with tempfile.TemporaryDirectory(prefix="k2-bench-") as folder, console.status("") as status:
        figures = measure(
            files, trades, rounds, Path(folder), lambda text: status.update(f"{text} ...")
        )
    console.print(report.table(figures))
    report.write(output, figures, {"files": files, "trades": trades, "rounds": rounds})
    if output == RESULTS:
        report.document(PAGE, figures, MARK)
    console.print(f"kept in {os.path.relpath(output)}")


if __name__ == "__main__":
    typer.run(main)
