"""How Dagster stands: its storage, its daemon, runs that nobody runs, ticks that fail."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from k2_cli.instance import UNDER_WAY
from k2_market.findings import Finding, State

DAGSTER = "dagster"
# Daemons give a sign of life every thirty seconds; no run takes longer than half an hour.
_SILENT_S, _LONGEST_S = 120, 1800


def dagster_findings(folder: Path, home: Path, *, in_use: bool) -> Iterator[Finding]:
    """What is found of the instance in ``folder``; ``in_use``: a process works in the home."""
    if not (folder / "dagster.yaml").is_file():
        yield Finding(DAGSTER, "storage", State.OK, "nothing has run yet")
        return
    try:
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            count = instance.get_runs_count()
            yield Finding(DAGSTER, "storage", State.OK, f"{folder}, {count:,} runs")
            yield from _runs(instance, home, in_use=in_use)
            yield from _daemons(instance, in_use=in_use)
            yield from _ticks(instance)
    except (dg.DagsterError, SQLAlchemyError, OSError) as error:
        told = f"{folder} cannot be read: {' '.join(str(error).split())[:200]}"
        mend = "start its database, or move the folder away: it holds history, not data"
        yield Finding(DAGSTER, "storage", State.WRONG, told, mend)


def _runs(instance: dg.DagsterInstance, home: Path, *, in_use: bool) -> Iterator[Finding]:
    records = instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY))
    if in_use:
        since = time.time() - _LONGEST_S
        records = [r for r in records if r.start_time is not None and r.start_time < since]
    if records:
        jobs = ", ".join(sorted({r.dagster_run.job_name for r in records}))
        held = "their tables wait for them" if in_use else "nobody works here"
        told = f"runs that count as under way: {len(records)} ({jobs}), but {held}"
        mend = f"start the platform, which ends them: k2 demo --home {home}"
        if in_use:
            mend = f"terminate them in the Dagster UI: {records[0].dagster_run.run_id}"
        yield Finding(DAGSTER, "runs", State.WARNING, told, mend)


def _daemons(instance: dg.DagsterInstance, *, in_use: bool) -> Iterator[Finding]:
    beats = instance.get_daemon_heartbeats()
    for name, beat in sorted(beats.items()):
        for error in (beat.errors or [])[:1]:
            told = f"{name}: {' '.join(error.message.split())[:200]}"
            yield Finding(DAGSTER, "daemon", State.WARNING, told, "see logs/daemon.log of the home")
    newest = max((beat.timestamp for beat in beats.values()), default=0.0)
    silent = time.time() - newest
    if in_use and silent > _SILENT_S:
        told = "it never gave a sign of life" if not beats else f"silent for {silent:,.0f} s"
        mend = "restart the platform; no tick comes without it"
        yield Finding(DAGSTER, "daemon", State.WRONG, told, mend)
    elif in_use:
        yield Finding(DAGSTER, "daemon", State.OK, f"alive {silent:,.0f} s ago")


def _ticks(instance: dg.DagsterInstance) -> Iterator[Finding]:
    """Sensors and schedules whose latest tick failed."""
    for state in instance.all_instigator_state():
        if not state.is_running:
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        for tick in ticks:
            if tick.is_failure:
                why = tick.error.message if tick.error is not None else "no reason is on record"
                told = f"its latest tick failed: {' '.join(why.split())[:300]}"
                mend = "mend what it says; it goes on by itself"
                yield Finding(DAGSTER, state.instigator_name, State.WARNING, told, mend)
