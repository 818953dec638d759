"""Recorded frames through the whole chain, once: broker, bronze, silver, gold, candles, checks.

The frames are produced from a thread, paced by what bronze has committed; meanwhile Dagster runs,
in this process, bring them through bronze and silver, and then each trade day through gold and all
timeframes.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg

from k2_assets.definitions import definitions
from k2_assets.resources import BROKER_FOLDER
from k2_assets.tables import MODE_TAG, TICK
from k2_cli.home import environment, locked_home, prepare_dagster
from k2_cli.instance import make_ready
from k2_cli.pacing import committed_offsets
from k2_feeds.adapter import Channel
from k2_feeds.adapters import adapter
from k2_feeds.backlog import Backlog
from k2_feeds.broker import start_broker
from k2_feeds.frame import Frame
from k2_feeds.kafka import KafkaSettings, from_environment
from k2_feeds.producer import FrameProducer
from k2_feeds.router import FrameRouter
from k2_feeds.tapes import read_tape
from k2_lake.audit import rejected_since
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.gold import pending_days
from k2_lake.history import head_sequence
from k2_lake.tables import (
    REJECTED_TABLE,
    TRADES_TABLE,
    candle_name,
    silver_name,
)
from k2_market.errors import K2Error
from k2_market.exchanges import EXCHANGES
from k2_market.timeframes import TIMEFRAMES

Progress = Callable[[str], None]

# The run's events are in Dagster's own log; the terminal is for progress and the summary.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class StepFailed(K2Error):
    """A step of a run failed; the run's page tells the whole story."""


@dataclass
class Replayed:
    """What one replay did, for its summary."""

    frames: int = 0
    channels: Counter[Channel] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    checks_passed: int = 0
    checks_failed: list[str] = field(default_factory=list)
    days: list[date] = field(default_factory=list)
    rejected: Mapping[str, int] = field(default_factory=dict)


def replay(home: Path, tapes: Sequence[tuple[str, Path]], progress: Progress) -> Replayed:
    """Bring recorded frames of (exchange, file) through the chain in ``home``.

    Files of one exchange are one stream, in the order given. Raises UsageError for a file or home
    that cannot be used, and what the chain raised where a step failed.
    """
    for _, path in tapes:
        read_tape(path, 0)
    with locked_home(home) as locked:
        prepare_dagster(locked)
        os.environ.update(environment(locked))
        settings = from_environment(os.environ)
        if settings is not None:
            return _Replay(locked, settings, progress).run(tapes)
        with start_broker(locked / BROKER_FOLDER) as broker:
            return _Replay(locked, broker.settings, progress).run(tapes)


class _Replay:
    def __init__(self, home: Path, kafka: KafkaSettings, progress: Progress) -> None:
        self.lake = Lake(LakeSettings.from_environment(os.environ, home))
        self.kafka, self.progress = kafka, progress
        self.defs = definitions(str(home))
        self.done = Replayed()
        self.failure: K2Error | None = None

    def run(self, tapes: Sequence[tuple[str, Path]]) -> Replayed:
        seen = head_sequence(self.lake.table(REJECTED_TABLE))
        with dg.DagsterInstance.get() as instance:
            make_ready(instance)
            producing = threading.Thread(
                target=self._produce, args=(tapes,), name="replay", daemon=True
            )
            producing.start()
            last = False
            while not last and not self.done.checks_failed:
                # Asked before the run: frames acknowledged by then are surely within its reach.
                last = not producing.is_alive()
                self._materialize(instance, "ingest", datetime.now(UTC).date())
                if self.failure is not None:
                    raise self.failure
            self.done.rejected = rejected_since(self.lake, DuckDBEngine(io=self.lake.io), seen)
            for day in sorted(pending_days(self.lake)):
                if not self.done.checks_failed:
                    self.done.days.append(day)
                    self._materialize(instance, "trade_day", day)
        return self.done

    def _produce(self, tapes: Sequence[tuple[str, Path]]) -> None:
        try:
            for exchange in dict.fromkeys(e for e, _ in tapes):
                self._stream(exchange, [p for e, p in tapes if e == exchange])
        except K2Error as error:
            self.failure = error

    def _stream(self, exchange: str, paths: Sequence[Path]) -> None:
        embedded = self.kafka.embedded
        committed = committed_offsets(self.lake, self.kafka, exchange)
        with FrameProducer(
            self.kafka, exchange, backlog=Backlog(committed) if embedded else None
        ) as producer:
            router = FrameRouter(adapter(exchange), producer)
            for path in paths:
                for batch in _frames(path):
                    self.done.frames += len(batch)
                    router.send_many(batch)
                    self.progress(f"replaying {exchange}: {self.done.frames:,} frames")
            producer.flush()
        self.done.channels.update(router.counts)

    def _materialize(self, instance: dg.DagsterInstance, job: str, day: date) -> None:
        result = self.defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            partition_key=day.isoformat(),
            tags={MODE_TAG: TICK},
            run_config=QUIET,
            raise_on_error=False,
        )
        for evaluation in result.get_asset_check_evaluations():
            name = f"{evaluation.asset_key.to_user_string()} {evaluation.check_name}"
            self.done.checks_passed += evaluation.passed
            self.done.checks_failed += [] if evaluation.passed else [f"{name} on {day}"]
        for event in result.get_asset_materialization_events():
            self._count(event.materialization)
        if not self.done.checks_failed:
            _raise_failure(result)

    def _count(self, materialization: dg.AssetMaterialization) -> None:
        table = ".".join(materialization.asset_key.path)
        for name, value in materialization.metadata.items():
            if isinstance(value, dg.IntMetadataValue) and value.value is not None:
                self.done.figures[f"{table} {name}"] += value.value
        self.progress(f"{table} is up to date")


def summary(done: Replayed, seconds: float) -> list[tuple[str, str]]:
    """Name and figure, line by line, of what a replay did."""
    figures = done.figures
    silver = [silver_name(e) for e in EXCHANGES]
    lines = [
        ("frames", done.frames),
        *((f"frames: {channel}", count) for channel, count in sorted(done.channels.items())),
        ("trades", sum(figures[f"{s} trades"] for s in silver)),
        ("rejected", sum(done.rejected.values())),
        *((f"rejected: {reason}", count) for reason, count in sorted(done.rejected.items())),
        ("duplicates", figures[f"{TRADES_TABLE} duplicates"]),
        ("added to gold", figures[f"{TRADES_TABLE} added"]),
        *((f"candles {t}", figures[f"{candle_name(t)} candles"]) for t in TIMEFRAMES),
        ("trade days", len(done.days)),
        ("checks passed", done.checks_passed),
        ("checks failed", len(done.checks_failed)),
    ]
    failed = [("failed", name) for name in done.checks_failed]
    return [*((n, f"{v:,}") for n, v in lines), *failed, ("seconds", f"{seconds:.1f}")]


def _frames(path: Path) -> Iterator[list[Frame]]:
    """The frames of a tape as its recorder received them: a connection id that its name gives."""
    clock_us = time.time_ns() // 1000
    digest = hashlib.blake2b(path.name.encode(), digest_size=6).digest()
    tape = int.from_bytes(digest, "big")
    for batch in read_tape(path, clock_us):
        yield [
            Frame(f.payload, f.received_at_us, (tape << 12) + f.connection % 4096, f.line)
            for f in batch
        ]


def _raise_failure(result: dg.ExecuteInProcessResult) -> None:
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        told = "no message" if error is None else error.message.strip()
        raise StepFailed(f"step {event.step_key} failed. {told}")
