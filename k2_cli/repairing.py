"""What ``k2 repair`` does: in a home of its own, or in one where a platform runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import typer

from k2_assets.gaps import described
from k2_assets.repair import Repairs, Selection, repair_running, selected
from k2_assets.resources import BROKER_FOLDER
from k2_cli.chain import run_chain
from k2_cli.show import STANDARD_ERROR, STANDARD_OUTPUT, Shown, print_table, shown_progress
from k2_feeds.kafka.broker import broker_settings
from k2_feeds.kafka.cluster import from_environment
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.quality.gap_ledger import Gap
from k2_lake.quality.gaps import give_up
from k2_market.errors import HomeInUse
from k2_market.kinds import Kind

ByExchange = Mapping[str, Sequence[Gap]]


def repair_home(home: Path, selection: Selection, *, dry_run: bool) -> None:
    """Repair the open gaps that are meant, or only show them.

    Raises typer.Exit with 1 when an exchange did not answer for some, or a blocking check failed.
    """
    lake = Lake(LakeSettings.from_environment(os.environ, home))
    engine = DuckDBEngine(io=lake.io)
    gaps = selected(lake, engine, selection)
    if dry_run or not gaps:
        for gap in (gap for of_exchange in gaps.values() for gap in of_exchange):
            STANDARD_OUTPUT.print(described(gap), soft_wrap=True, highlight=False)
        missing = sum(gap.missing for of_exchange in gaps.values() for gap in of_exchange)
        print_table("Gaps", [("open", f"{_count(gaps):,}"), ("missing trades", f"{missing:,}")])
        return
    repairs = Repairs()
    with shown_progress() as shown:
        failed = _repair(home, lake, gaps, repairs, shown)
        given_up = give_up(lake, engine, repairs.hopeless)
    _summarize(gaps, repairs, given_up, failed)
    if failed or repairs.failed:
        raise typer.Exit(1)


def _repair(home: Path, lake: Lake, gaps: ByExchange, repairs: Repairs, shown: Shown) -> list[str]:
    """The blocking checks that failed on the way, where this process saw them run."""
    feedings = {e: partial(repairs.repair, e, of_exchange) for e, of_exchange in gaps.items()}
    try:
        done = run_chain(home, Kind.TRADES, feedings, "repairing", shown.update)
        return done.checks_failed
    except HomeInUse:
        settings = from_environment(os.environ) or broker_settings(home.absolute() / BROKER_FOLDER)
        if settings is None:
            raise
    frames = 0
    for handed_over in repair_running(lake, settings, gaps, repairs):
        frames += handed_over
        shown.update(f"repairing: {frames:,} frames")
    return []


def _summarize(gaps: ByExchange, repairs: Repairs, given_up: int, failed: Sequence[str]) -> None:
    lines = [
        ("gaps", _count(gaps)),
        ("missing trades", sum(gap.missing for of in gaps.values() for gap in of)),
        *((f"found: {e}", _found(repairs, of)) for e, of in gaps.items()),
        ("gaps filled", sum(n == gap.missing for gap, n in repairs.found.items())),
        ("unrepairable", given_up),
        ("not answered", len(repairs.failed)),
        ("checks failed", len(failed)),
    ]
    print_table("Repair", [(name, f"{value:,}") for name, value in lines])
    for gap, why in {**repairs.reasons, **repairs.failed}.items():
        STANDARD_ERROR.print(f"{described(gap)}: {why}", soft_wrap=True, highlight=False)


def _found(repairs: Repairs, gaps: Sequence[Gap]) -> int:
    return sum(repairs.found.get(gap, 0) for gap in gaps)


def _count(gaps: ByExchange) -> int:
    return sum(map(len, gaps.values()))
