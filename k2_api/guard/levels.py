"""How much the API still does when something fails or too much is asked: five levels.

| level         | when                                                  | switched off         |
| ------------- | ----------------------------------------------------- | -------------------- |
| normal        | nothing of what follows                               | nothing              |
| soft          | half of the places taken, averaged over some seconds  | the tail             |
| graceful      | Kafka's breaker open, or 0.7 of the places taken      | and live             |
| aggressive    | the store's breaker open, or 0.85 of the places taken | and exports, batches |
| circuit_break | the catalog's breaker open                            | all but health       |

The highest that applies counts. A breaker whose rest is over counts as closed, so that requests get
through to try it; the average falls by itself. What is switched off answers 503 ``breaker_open``
with Retry-After; without the tail answers are of the tables alone and say so. While the store's
breaker is open only what is in memory can be answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import IntEnum
from math import ceil

from k2_api.guard.breaker import Breaker
from k2_api.guard.refusals import BreakerOpen

RETRY_LOAD_S = 2

logger = logging.getLogger(__name__)


class Level(IntEnum):
    """From all that the API does to nothing."""

    NORMAL = 0
    SOFT = 1
    GRACEFUL = 2
    AGGRESSIVE = 3
    CIRCUIT_BREAK = 4


# By feature, the first level that is without it.
OFF_FROM = {
    "tail": Level.SOFT,
    "live": Level.GRACEFUL,
    "export": Level.AGGRESSIVE,
    "batch": Level.AGGRESSIVE,
    "read": Level.CIRCUIT_BREAK,
}
BY_LOAD = ((0.85, Level.AGGRESSIVE), (0.7, Level.GRACEFUL), (0.5, Level.SOFT))


def features(level: Level) -> frozenset[str]:
    """What works at this level."""
    return frozenset(name for name, off in OFF_FROM.items() if level < off)


class Levels:
    """The level as it follows from breakers and load, the share of places that are taken."""

    def __init__(
        self, catalog: Breaker, store: Breaker, kafka: Breaker, load: Callable[[], float]
    ) -> None:
        self._levels = (
            (catalog, Level.CIRCUIT_BREAK),
            (store, Level.AGGRESSIVE),
            (kafka, Level.GRACEFUL),
        )
        self._load = load
        self._told = Level.NORMAL

    def level(self) -> Level:
        """The level now."""
        load = self._load()
        found = next((level for least, level in BY_LOAD if load >= least), Level.NORMAL)
        for breaker, level in self._levels:
            if level > found and breaker.open_for_s:
                found = level
        if found != self._told:
            self._told = found
            logger.warning("the API works at the level %s", found.name.lower())
        return found

    def allows(self, feature: str) -> bool:
        """Whether the feature works now."""
        off = OFF_FROM.get(feature)
        return off is None or self.level() < off

    def require(self, feature: str) -> None:
        """Raise BreakerOpen where the feature is switched off."""
        if self.allows(feature):
            return
        level = self.level()
        raise BreakerOpen(
            f"{feature} is switched off while the API works at the level {level.name.lower()}. "
            "Ask again in a moment.",
            max((ceil(b.open_for_s) for b, _ in self._levels), default=0) or RETRY_LOAD_S,
        )
