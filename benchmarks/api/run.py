"""One run: how much is measured, and the process that the load comes from."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.api.load import Load, Plan, drive
from benchmarks.figures import Progress

WARM_S = 1.0


@dataclass(frozen=True)
class Sizes:
    """How much is measured: trades of the lake, seconds of each load, rounds."""

    a_day: int = 1_000_000
    trades: int = 10_000_000
    exported: tuple[int, int] = (1_000_000, 5_000_000)
    full: int = 0
    """Grow to so many trades in the end, for one more point query; 0: do not."""
    seconds: float = 3.0
    rounds: int = 3
    fresh_s: float = 20.0
    timeout_s: float = 0.5
    """After which queries are stopped when many are made that take longer; 0: make none."""


QUICK = Sizes(20_000, 60_000, (20_000, 60_000), 0, 0.3, 1, 3.0, 0.0)


@dataclass(frozen=True)
class Run:
    """Sizes, where the load comes from, and who is told what is being done."""

    sizes: Sizes
    load: ProcessPoolExecutor
    tell: Progress

    def start(self, plan: Plan) -> Future[Load]:
        """Begin that load, in a process of its own."""
        return self.load.submit(drive, plan)

    def drive(self, what: str, plan: Plan) -> list[Load]:
        """A short load to warm up, then one in each round."""
        self.start(Plan(**{**vars(plan), "seconds": min(WARM_S, plan.seconds)})).result()
        found = []
        for number in range(self.sizes.rounds):
            self.tell(f"{what}, round {number + 1} of {self.sizes.rounds}")
            found.append(self.start(plan).result())
        return found


@contextmanager
def running(sizes: Sizes, tell: Progress) -> Iterator[Run]:
    """With two processes for load: one for who is measured, one for who disturbs."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as load:
        yield Run(sizes, load, tell)
