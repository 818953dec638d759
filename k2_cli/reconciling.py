"""What ``k2 reconcile`` does: compares, keeps, and shows windows and the first differences."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from k2_assets.reconciliation import rest_client
from k2_cli.show import STANDARD_OUTPUT, plain, shown_progress
from k2_feeds.klines import ask
from k2_feeds.klines.files import read_files
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.quality.reconciliation import Reconciled, outcomes, reconcile, unexplained
from k2_lake.quality.reconciliation_ledger import keep
from k2_lake.read_sql import existing_lake
from k2_market.errors import UsageError
from k2_market.klines import Comparison, Outcome, Published
from k2_market.timeframes import Timeframe

SHOWN = 10
_WINDOWS = "windows"

Between = tuple[datetime | None, datetime | None]


def reconcile_with_files(
    home: Path, exchange: str, symbol: str, paths: Sequence[Path], between: Between
) -> None:
    """Compare with the klines in files, those in ``between`` alone.

    Raises typer.Exit with 1 when something differs for no known reason.
    """
    files = read_files(paths, exchange)
    lake, now = _lake(home), datetime.now(UTC)
    engine = DuckDBEngine(io=lake.io)
    compared = [
        reconcile(lake, engine, exchange, symbol, file.frame.name, part, now)
        for file in files
        if (part := _part(file.published, between)) is not None
    ]
    _finish(lake, engine, compared, now)


def reconcile_with_exchange(
    home: Path, exchange: str, symbol: str, frame: Timeframe, between: tuple[datetime, datetime]
) -> None:
    """Compare with what the exchange answers for windows that start in ``between``.

    Raises FeedError where it does not answer, typer.Exit as above.
    """
    lake, now = _lake(home), datetime.now(UTC)
    engine = DuckDBEngine(io=lake.io)
    with shown_progress() as shown:
        shown.update(f"asking {exchange}")
        with rest_client(exchange) as client:
            published = ask(client, symbol, frame, *between)
    if published.start >= published.end:
        raise UsageError(
            f"{exchange} keeps no candles of {frame.name} from then: it answers for the newest "
            "alone. Ask for a later time, or for a longer timeframe."
        )
    compared = reconcile(lake, engine, exchange, symbol, frame.name, published, now)
    _finish(lake, engine, [compared], now)


def _lake(home: Path) -> Lake:
    return existing_lake(LakeSettings.from_environment(os.environ, home))


def _part(published: Published, between: Between) -> Published | None:
    start = max(published.start, between[0] or published.start)
    end = min(published.end, between[1] or published.end)
    kept = [k for k in published.klines if start <= k.window_start < end]
    return Published(kept, start, end, published.source) if start < end else None


def _finish(
    lake: Lake, engine: DuckDBEngine, compared: Sequence[Reconciled], now: datetime
) -> None:
    if not any(each.windows for each in compared):
        raise UsageError(
            "there is no window to compare: neither side has one that has ended by now. "
            "Check --exchange, --symbol, --from and --to."
        )
    keep(lake, engine, compared, now)
    for each in compared:
        if each.windows:
            _show(each)
    if unexplained(compared):
        raise typer.Exit(1)


def _show(each: Reconciled) -> None:
    title = f"{each.exchange} {each.symbol} {each.timeframe}: ours and {each.source}"
    STANDARD_OUTPUT.print(title, soft_wrap=True, highlight=False, style="bold")
    STANDARD_OUTPUT.print(
        f"windows from {each.windows[0].window_start:%Y-%m-%d %H:%M} "
        f"to {each.windows[-1].window_start:%Y-%m-%d %H:%M} UTC",
        highlight=False,
    )
    STANDARD_OUTPUT.print(_counts(each))
    odd = [w for w in each.windows if w.outcome is not Outcome.MATCHED]
    for window in odd[:SHOWN]:
        STANDARD_OUTPUT.print(_told(window), soft_wrap=True, highlight=False)
    if len(odd) > SHOWN:
        STANDARD_OUTPUT.print(
            f'... and {len(odd) - SHOWN:,} more: k2 sql "select * from gold.reconciliation '
            "where outcome <> 'matched'\"",
            soft_wrap=True,
            highlight=False,
        )


def _counts(each: Reconciled) -> Table:
    """A line for whole windows, then one for every field that was compared."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    for outcome in Outcome:
        table.add_column(outcome.replace("_", " "), justify="right")
    counts = outcomes([each])
    table.add_row(_WINDOWS, *(f"{counts[outcome]:,}" for outcome in Outcome))
    compared = Counter(f for w in each.windows for f in w.fields)
    for field in compared:
        by = Counter(w.outcome for w in each.windows if field in w.differing)
        missed = (counts[Outcome.SOURCE_MISSING], counts[Outcome.OURS_MISSING])
        told = (compared[field] - by.total(), by[Outcome.DIFFERS], *missed)
        table.add_row(field, *(f"{n:,}" for n in (*told, by[Outcome.OURS_PARTIAL])))
    return table


def _told(window: Comparison) -> str:
    what = f"{window.window_start:%Y-%m-%d %H:%M} {window.outcome.replace('_', ' ')}"
    if window.ours is not None and window.theirs is not None:
        pairs = (
            f"{name} ours {plain(window.ours[name])}, theirs {plain(window.theirs[name])}"
            for name in window.differing
        )
        what += f": {'; '.join(pairs)}"
    return f"{what} ({window.reason})" if window.reason else what
