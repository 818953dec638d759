"""A figure: what was measured, several times, and what it is to reach."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Figure:
    """``runs`` are single measurements in ``unit``; what counts is their median.

    ``at_least`` and ``at_most`` are what it is to reach, None where nothing was promised.
    """

    name: str
    unit: str
    runs: list[float]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def value(self) -> float:
        """The median."""
        return median(self.runs)

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches what it is to reach, None where nothing was promised."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most


@dataclass
class Watch:
    """Seconds by what took them: those of a clock on the wall, unless another one is given."""

    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time spent inside to ``name``."""
        started = self.clock()
        try:
            yield
        finally:
            spent = self.clock() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def total(self, *names: str) -> float:
        """The seconds of these together, of all when none is named."""
        return sum(self.seconds[n] for n in names or self.seconds)
