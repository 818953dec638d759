"""Kill, look, start again, compare: one home on one broker and one catalog, until killed enough.

After each kill every table is read as it was left: nothing in it may be doubled or wrong. Then new
frames come, and what the sensors would start is started, once; after that nothing may be missing
either.
"""

from __future__ import annotations

import math
import multiprocessing
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.chaos.market import EXCHANGE, Market, Sent, produce
from benchmarks.chaos.seams import Place
from benchmarks.chaos.truth import Difference, differences
from benchmarks.chaos.worker import MAINTENANCE, PLACES, Done, Order, Work, serve
from k2_assets.resources import BROKER_FOLDER
from k2_cli.home import environment, prepare_dagster
from k2_feeds.kafka.admin import TopicsAdmin, TopicSettings
from k2_feeds.kafka.broker import broker_settings
from k2_feeds.kafka.cluster import from_environment
from k2_feeds.kafka.topics import raw_topic
from k2_lake.catalog import Lake, LakeSettings
from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind

_LONGEST_S = 300.0
# Workers are forked from a server that has imported libraries and nothing of K2, which would start
# the threads of polars: they do not survive a fork. It saves most of a worker's imports.
_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(
    "alembic.command dagster dagster._core.storage.sqlite_storage dagster_duckdb "
    "hypothesis.strategies pyarrow.acero pyarrow.dataset pyiceberg.catalog.sql "
    "pyiceberg.io.pyarrow sqlalchemy.dialects.postgresql sqlalchemy.dialects.sqlite structlog "
    "upath".split()
)

# An order that is to be killed further on than it goes ends by itself; so often it is given again.
_TRIES = 4
_AGAIN = 0.5


@dataclass(frozen=True)
class Stage:
    """Where it happens: names for the table, and what a process of it finds in its environment."""

    broker: str
    catalog: str
    home: Path
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        """As the table's column is headed."""
        return f"{self.broker}, {self.catalog}"


@dataclass
class Tally:
    """What came of it. ``after_kill`` is what readers saw of wrong or doubled rows until then."""

    kills: Counter[tuple[Work, Place]] = field(default_factory=Counter)
    frames: int = 0
    restarts: int = 0
    found: Difference = field(default_factory=Difference)
    after_kill: Difference = field(default_factory=Difference)
    checks_passed: int = 0
    checks_failed: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether nothing was lost, doubled or wrong, and nothing failed."""
        return not (self.found or self.after_kill or self.checks_failed or self.failures)


class Campaign:
    """One stage and its truth."""

    def __init__(self, stage: Stage, seed: int, tell: Callable[[str], None]) -> None:
        self.stage, self.tell = stage, tell
        self.rng = random.Random(f"{seed} {stage.name}")
        self.day = datetime.now(UTC).date()
        self.market = Market(self.rng, self.day)
        self.sent: list[Sent] = []
        self.tally = Tally()
        self._passings: dict[Work, Counter[Place]] = {}
        self._lasted: dict[Work, float] = {}
        prepare_dagster(stage.home)
        self.environment = {**environment(stage.home), **stage.environment}
        settings = from_environment(self.environment)
        if settings is not None:
            TopicsAdmin(settings).create([raw_topic(Kind.TRADES, EXCHANGE)], TopicSettings())
        self.kafka = settings or broker_settings(stage.home / BROKER_FOLDER)
        self.lake = Lake(LakeSettings.from_environment(stage.environment, stage.home))
        self._worker = Worker(self.environment)

    def run(self, kills: int, longest_s: float = math.inf) -> Tally:
        """Kill so often, or for so long. Raises InvariantBroken where a worker ends by itself."""
        began = time.monotonic()
        try:
            self._arrive()
            self._complete(Work.TICK)
            deck: list[tuple[Work, Place]] = []
            while self.tally.kills.total() < kills and time.monotonic() - began < longest_s:
                deck = deck or self._deck()
                self._round(*deck.pop())
        finally:
            self._worker.end()
        self.tally.seconds = time.monotonic() - began
        return self.tally

    def _deck(self) -> list[tuple[Work, Place]]:
        """Every place of every work once, shuffled."""
        deck = [(kind, place) for kind, places in PLACES.items() for place in places]
        self.rng.shuffle(deck)
        return deck

    def _round(self, kind: Work, place: Place) -> None:
        if kind not in self._passings:
            self._complete(kind)
            self._work_for(kind)
        elif kind not in MAINTENANCE:
            self._arrive()
        killed = self._kill(kind, place)
        while killed and self.rng.random() < _AGAIN:
            # What starts it again is killed as well.
            killed = self._kill(Work.TICK, self.rng.choice(PLACES[Work.TICK]))
        self._arrive()
        self._complete(Work.TICK)
        self.tally.restarts += 1

    def _work_for(self, kind: Work) -> None:
        """New frames; what changes files and no rows finds them in the tables already."""
        self._arrive()
        if kind in MAINTENANCE:
            self._complete(Work.TICK)

    def _arrive(self) -> None:
        assert self.kafka is not None
        batch = self.market.batch(self.rng.randint(5, 25))
        self.sent += produce(self.kafka, batch)
        self.tally.frames = len(self.sent)

    def _complete(self, kind: Work) -> None:
        """A run that nobody kills; afterwards every table must be what was sent."""
        began = time.monotonic()
        done = self._worker.carry_out(self._order(kind))
        if done is None:
            raise InvariantBroken(f"{self.stage.name}: an ordinary {kind} was cut off")
        self._lasted[kind] = time.monotonic() - began
        self._note(kind, done)
        for name, found in differences(self.lake, self.sent).items():
            self.tally.found += found
            if found:
                self._failed(f"after a {kind}: {name} {found}")

    def _kill(self, kind: Work, place: Place) -> bool:
        """Whether it was killed; a run may pass the place less often than the one before it."""
        for _ in range(_TRIES):
            after_s = None
            if place is Place.ANYWHERE:
                after_s = self.rng.uniform(0.05, self._lasted[kind])
            most = max(1, self._passings[kind][place])
            order = self._order(kind, (place, self.rng.randint(1, most)))
            done = self._worker.carry_out(order, after_s)
            if done is None:
                self._killed(kind, place)
                return True
            self._note(kind, done)
            self._work_for(kind)
        return False

    def _killed(self, kind: Work, place: Place) -> None:
        """Readers look at what the process left; a new one takes its place."""
        self.tally.kills[kind, place] += 1
        self._worker = Worker(self.environment)
        whole = kind in MAINTENANCE
        for name, found in differences(self.lake, self.sent).items():
            seen = found if whole else _of_what_is_there(name, found)
            self.tally.after_kill += seen
            if seen:
                self._failed(f"{kind} killed {place}: {name} {found}")
        self.tell(f"{self.stage.name}: {self.tally.kills.total()} kills, the last {place}")

    def _note(self, kind: Work, done: Done) -> None:
        self._passings[kind] = done.passings
        self.tally.checks_passed += done.checks_passed
        self.tally.checks_failed += len(done.checks_failed)
        for failure in (*done.checks_failed, *done.failures):
            self._failed(failure)

    def _failed(self, what: str) -> None:
        self.tally.failures.append(what)
        self.tell(f"{self.stage.name}: {what}")

    def _order(self, kind: Work, kill: tuple[Place, int] | None = None) -> Order:
        return Order(kind, self.day, self.rng.choice(self.market.days[1:]), kill)


def _of_what_is_there(name: str, found: Difference) -> Difference:
    """What is wrong already: a run that was cut off may not have brought everything.

    A trade of gold or a candle may wait for a frame that changes it. Nothing may be there twice.
    """
    follows = name.startswith("gold.")
    return Difference(0, found.doubled, 0 if follows else found.wrong)


class Worker:
    """A process that carries out orders until it is killed."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._orders, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=serve, args=(environment, theirs))
        self._process.start()
        theirs.close()

    def carry_out(self, order: Order, kill_after_s: float | None = None) -> Done | None:
        """What it tells, None if it was killed: by itself, or by us after so long.

        Raises InvariantBroken where it ended in another way, or does not end.
        """
        try:
            self._orders.send(order)
            if kill_after_s is not None and not self._orders.poll(kill_after_s):
                self._process.kill()
            if not self._orders.poll(_LONGEST_S):
                raise InvariantBroken(f"{order} was not done within {_LONGEST_S:.0f} s")
            done: Done = self._orders.recv()
        except (EOFError, ConnectionError):
            self.end()
            if self._process.exitcode != -signal.SIGKILL:
                raise InvariantBroken(
                    f"{order}: the process ended with {self._process.exitcode}"
                ) from None
            return None
        return done

    def end(self) -> None:
        """Give no more orders, and wait until it has ended."""
        self._orders.close()
        self._process.join()
