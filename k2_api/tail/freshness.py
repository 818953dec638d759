"""How fresh an answer is: whether rows that no table has yet are in it, and up to when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

# Kafka answers the tail every tenth of a second, and is asked when every half second.
STALE_AFTER = timedelta(seconds=5)
CATCHING_UP = "the tail is catching up with Kafka"


@dataclass(frozen=True)
class Freshness:
    """``tail`` is live: all rows that came up to ``through`` are in the answer.

    Down: those of some exchange that no table has yet may be missing, and ``detail`` says whose and
    why. Off: the API runs without Kafka.
    """

    tail: Literal["live", "down", "off"]
    through: datetime | None = None
    detail: str | None = None


OFF = Freshness("off")
SWITCHED_OFF = Freshness("down", None, "the tail is switched off while the API has too much to do")


@dataclass(frozen=True)
class Standing:
    """How one topic is followed: ``trouble`` says why it is not, ``through`` up to when it is."""

    trouble: str | None = CATCHING_UP
    through: datetime | None = None

    def trouble_at(self, now: datetime) -> str | None:
        """What is wrong at that time, None where nothing is."""
        if self.trouble is not None:
            return self.trouble
        if self.through is None:
            return CATCHING_UP
        if now - self.through > STALE_AFTER:
            return f"nothing came from Kafka since {self.through:%Y-%m-%dT%H:%M:%SZ}"
        return None


CATCHING = Standing()


def freshness(standings: Mapping[str, Standing], now: datetime) -> Freshness:
    """That of an answer made of these exchanges."""
    troubles = {e: t for e, s in standings.items() if (t := s.trouble_at(now)) is not None}
    if troubles:
        return Freshness("down", None, _told(troubles, standings))
    through = [s.through for s in standings.values() if s.through is not None]
    return Freshness("live", min(through, default=None))


def _told(troubles: Mapping[str, str], all_of: Iterable[str]) -> str:
    """Whose rows are of the tables alone, and why; exchanges with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for exchange, trouble in troubles.items():
        reasons.setdefault(trouble, []).append(exchange)
    if len(reasons) == 1 and len(troubles) == len(list(all_of)):
        return next(iter(reasons))
    return "; ".join(f"{', '.join(sorted(names))}: {why}" for why, names in reasons.items())
