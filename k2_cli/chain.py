"""Frames through the whole chain, once: broker, bronze, silver, gold, candles, checks.

The frames are produced from a thread, paced by what bronze has committed; meanwhile Dagster runs,
in this process, bring them through bronze and silver, and then each trade day through gold and all
timeframes.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg

from k2_assets.definitions import definitions
from k2_assets.jobs import JOBS_OF
from k2_assets.pacing import backlog
from k2_assets.resources import BROKER_FOLDER
from k2_assets.tables import MODE_TAG, TICK, asset_key
from k2_cli.home import environment, locked_home, prepare_dagster
from k2_cli.instance import make_ready
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings, from_environment
from k2_feeds.kafka.producer import FrameProducer
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.history import head_sequence
from k2_lake.letters import rejected_since
from k2_lake.tables import REJECTED_TABLE, bronze_name, candle_name, gold_name, silver_name
from k2_market.errors import K2Error
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from k2_sensors.touched_days import pending

Progress = Callable[[str], None]

# Hands all frames of an exchange to its producer, and says after each batch how many they were.
Feeding = Callable[[FrameProducer], Iterable[int]]

# The run's events are in Dagster's own log; the terminal is for progress and the summary.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


# Gold takes what has gathered in silver whenever it is more than this, so that memory does not
# depend on how much there is to load: gold of 700,000 trades of a day at once took 0.9 GB.
ROWS_AT_ONCE = 500_000


class StepFailed(K2Error):
    """A step of a run failed; the run's page tells the whole story."""


@dataclass
class Done:
    """What one pass through the chain did, for its summary."""

    frames: int = 0
    figures: Counter[str] = field(default_factory=Counter)
    candles: dict[tuple[str, date], int] = field(default_factory=dict)
    checks_passed: int = 0
    checks_failed: list[str] = field(default_factory=list)
    days: set[date] = field(default_factory=set)
    rejected: Mapping[str, int] = field(default_factory=dict)


def run_chain(
    home: Path, kind: Kind, feedings: Mapping[str, Feeding], doing: str, progress: Progress
) -> Done:
    """Bring what each exchange's feeding hands over through the chain of a kind in ``home``.

    ``doing`` is the word that progress shows: replaying, loading. Raises HomeInUse or UsageError
    for a home that cannot be used, and what a feeding or the chain raised.
    """
    with locked_home(home) as locked:
        prepare_dagster(locked)
        os.environ.update(environment(locked))
        settings = from_environment(os.environ)
        if settings is not None:
            return _Chain(locked, kind, settings, doing, progress).run(feedings)
        with start_broker(locked / BROKER_FOLDER) as broker:
            return _Chain(locked, kind, broker.settings, doing, progress).run(feedings)


class _Chain:
    def __init__(
        self, home: Path, kind: Kind, kafka: KafkaSettings, doing: str, progress: Progress
    ) -> None:
        self.lake = Lake(LakeSettings.from_environment(os.environ, home))
        self.kind, self.kafka = kind, kafka
        self.doing, self.progress = doing, progress
        self.defs = definitions(str(home))
        self.jobs = JOBS_OF[kind]
        self.done = Done()
        self.produced: Future[None] = Future()
        self.in_gold = 0

    def run(self, feedings: Mapping[str, Feeding]) -> Done:
        seen = head_sequence(self.lake.table(REJECTED_TABLE))
        with dg.DagsterInstance.get() as instance:
            make_ready(instance)
            # A daemon: when the chain fails it may wait for room in Kafka that never comes.
            threading.Thread(target=self._produce, args=(feedings,), daemon=True).start()
            tables = [n(e, self.kind) for e in feedings for n in (bronze_name, silver_name)]
            fed = [asset_key(table) for table in tables]
            last = False
            while not last and not self.done.checks_failed:
                # Asked before the run: frames acknowledged by then are surely within its reach.
                last = self.produced.done()
                today = datetime.now(UTC).date()
                self._materialize(instance, self.jobs.ingest, today, only=None if last else fed)
                if self.produced.done():
                    self.produced.result()
                if last or self._rows() - self.in_gold > ROWS_AT_ONCE:
                    self._bring_to_gold(instance)
            self.done.rejected = rejected_since(self.lake, DuckDBEngine(io=self.lake.io), seen)
        return self.done

    def _bring_to_gold(self, instance: dg.DagsterInstance) -> None:
        self.in_gold = self._rows()
        # A day that has not begun has no partition yet: the clocks of exchange and host differ.
        days = [d for d in sorted(pending(self.lake, self.kind)) if d <= datetime.now(UTC).date()]
        for day in days:
            if not self.done.checks_failed:
                self.done.days.add(day)
                self._materialize(instance, self.jobs.day, day)

    def _rows(self) -> int:
        return _rows_in_silver(self.done, self.kind)

    def _produce(self, feedings: Mapping[str, Feeding]) -> None:
        try:
            for exchange, feeding in feedings.items():
                pace = backlog(self.lake, self.kafka, exchange, self.kind)
                with FrameProducer(self.kafka, exchange, self.kind, backlog=pace) as producer:
                    for frames in feeding(producer):
                        self.done.frames += frames
                        self.progress(f"{self.doing} {exchange}: {self.done.frames:,} frames")
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            self.produced.set_exception(error)
        else:
            self.produced.set_result(None)

    def _materialize(
        self,
        instance: dg.DagsterInstance,
        job: str,
        day: date,
        only: Sequence[dg.AssetKey] | None = None,
    ) -> None:
        result = self.defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            asset_selection=only,
            partition_key=day.isoformat(),
            tags={MODE_TAG: TICK},
            run_config=QUIET,
            raise_on_error=False,
        )
        for evaluation in result.get_asset_check_evaluations():
            name = f"{evaluation.asset_key.to_user_string()} {evaluation.check_name}"
            self.done.checks_passed += evaluation.passed
            # A warning is in its asset's page; only what blocks ends the load.
            failed = not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR
            self.done.checks_failed += [f"{name} on {day}"] if failed else []
        for event in result.get_asset_materialization_events():
            self._count(event.materialization, day)
        if not self.done.checks_failed:
            _raise_failure(result)

    def _count(self, materialization: dg.AssetMaterialization, day: date) -> None:
        table = ".".join(materialization.asset_key.path)
        for name, value in materialization.metadata.items():
            if not isinstance(value, dg.IntMetadataValue) or value.value is None:
                continue
            if name == "candles":
                # What the day has now: a day that is brought to gold in parts is told each time.
                self.done.candles[table, day] = value.value
            else:
                self.done.figures[f"{table} {name}"] += value.value
        self.progress(f"{table} is up to date")


def summary(
    done: Done, kind: Kind, read: Mapping[str, int], seconds: float
) -> list[tuple[str, str]]:
    """Name and figure, line by line; ``read`` is what was read, for the first lines."""
    figures = done.figures
    lines = [
        *read.items(),
        (str(kind), _rows_in_silver(done, kind)),
        ("rejected", sum(done.rejected.values())),
        *((f"rejected: {reason}", count) for reason, count in sorted(done.rejected.items())),
        ("duplicates", figures[f"{gold_name(kind)} duplicates"]),
        ("added to gold", figures[f"{gold_name(kind)} added"]),
        *((f"candles {t}", _of_table(done.candles, candle_name(t))) for t in _timeframes(kind)),
        (f"{kind.record.name.lower()} days", len(done.days)),
        ("checks passed", done.checks_passed),
        ("checks failed", len(done.checks_failed)),
    ]
    failed = [("failed", name) for name in done.checks_failed]
    return [*((n, f"{v:,}") for n, v in lines), *failed, ("seconds", f"{seconds:.1f}")]


def _rows_in_silver(done: Done, kind: Kind) -> int:
    return sum(done.figures[f"{silver_name(e, kind)} {kind}"] for e in EXCHANGES)


def _timeframes(kind: Kind) -> Iterable[str]:
    return TIMEFRAMES if kind is Kind.TRADES else ()


def _of_table(candles: Mapping[tuple[str, date], int], table: str) -> int:
    return sum(count for (name, _), count in candles.items() if name == table)


def _raise_failure(result: dg.ExecuteInProcessResult) -> None:
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        told = "no message" if error is None else error.message.strip()
        raise StepFailed(f"step {event.step_key} failed. {told}")
