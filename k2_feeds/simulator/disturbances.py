"""What a simulated exchange does wrong on request, to see that nothing is lost by it.

Written ``disconnect=30``, ``malformed=0.01``, ``reject=BTC-USD,ETH-USD``, as the simulator's option
``--fault`` and its path ``/control`` take them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from k2_feeds.simulator.synthetic import Fill
from k2_market.errors import UsageError

_US = 1_000_000


@dataclass
class Disturbances:
    """The troubles of one exchange; all are off at first, and any may change at any time.

    ``disconnect_s``: every connection ends at that age, by a closing handshake after all that was
    written; ``abort`` cuts it instead, and what is under way is lost. ``silent``: connections stay
    open, nothing is sent. ``duplicate``, ``disorder`` and ``malformed`` are shares of the frames:
    sent twice, sent after the next one, preceded by a damaged copy. ``skew_s`` is added to event
    times. ``rejected`` symbols cannot be subscribed to. ``slow_bytes``: who has so much unread is
    disconnected, as exchanges do with slow consumers; 0 is without end. ``refusals``: so many of
    the next connects and REST requests get status 429, ``retry_after_s`` with them. ``withheld``:
    so many of the next trades of a symbol are not sent.
    """

    disconnect_s: float = 0.0
    abort: bool = False
    silent: bool = False
    duplicate: float = 0.0
    disorder: float = 0.0
    malformed: float = 0.0
    skew_s: float = 0.0
    slow_bytes: int = 0
    refusals: int = 0
    retry_after_s: int = 1
    rejected: set[str] = field(default_factory=set)
    withheld: Counter[str] = field(default_factory=Counter)
    random: Random = field(default_factory=lambda: Random(1), repr=False)

    def set(self, name: str, value: str) -> None:
        """Set what a setting of the form ``name=value`` says. Raises UsageError."""
        try:
            self._set(name, value)
        except (ValueError, KeyError):
            raise UsageError(
                f"fault {name}={value} was not understood. Faults are disconnect=SECONDS, "
                "abort=0|1, silent=0|1, duplicate=SHARE, disorder=SHARE, malformed=SHARE, "
                "skew=SECONDS, slow=BYTES, refuse=COUNT, retry_after=SECONDS, reject=SYMBOL,..., "
                "withhold=SYMBOL:COUNT."
            ) from None

    def _set(self, name: str, value: str) -> None:
        if name == "withhold":
            symbol, count = value.split(":")
            self.withheld[symbol] += int(count)
        elif name == "reject":
            self.rejected = set(value.split(",")) if value else set()
        elif name in ("abort", "silent"):
            setattr(self, name, {"0": False, "1": True}[value])
        elif name in ("slow", "refuse", "retry_after"):
            setattr(self, _WHOLE[name], int(value.removesuffix("s")))
        else:
            setattr(self, _FRACTIONS[name], float(value.removesuffix("s")))

    def rejects(self, symbol: str) -> bool:
        """Whether a symbol cannot be subscribed to, though it trades."""
        return symbol in self.rejected

    def refuse(self) -> int | None:
        """Whether to answer a request with 429: the seconds to ask for then, else None."""
        if self.refusals <= 0:
            return None
        self.refusals -= 1
        return self.retry_after_s

    def shown(self, symbol: str, orders: list[list[Fill]]) -> list[list[Fill]]:
        """The orders as they are told: without what is withheld, at the time of a wrong clock."""
        if self.withheld[symbol] > 0:
            orders = list(self._kept_back(symbol, orders))
        if not self.skew_s:
            return orders
        skew_us = int(self.skew_s * _US)
        return [[replace(f, time_us=f.time_us + skew_us) for f in order] for order in orders]

    def _kept_back(self, symbol: str, orders: list[list[Fill]]) -> Iterator[list[Fill]]:
        for order in orders:
            held = min(self.withheld[symbol], len(order))
            self.withheld[symbol] -= held
            if held < len(order):
                yield order[held:]

    def disturb(self, frames: Sequence[str]) -> list[str]:
        """The frames with their repeats, damaged copies and wrong order; none is left out."""
        if not (self.duplicate or self.disorder or self.malformed):
            return list(frames)
        told = []
        for frame in frames:
            if self.random.random() < self.malformed:
                told.append(frame[: self.random.randrange(len(frame))])
            told.append(frame)
            if self.random.random() < self.duplicate:
                told.append(frame)
            if len(told) > 1 and self.random.random() < self.disorder:
                told[-1], told[-2] = told[-2], told[-1]
        return told


_WHOLE = {"slow": "slow_bytes", "refuse": "refusals", "retry_after": "retry_after_s"}
_FRACTIONS = {
    "disconnect": "disconnect_s",
    "duplicate": "duplicate",
    "disorder": "disorder",
    "malformed": "malformed",
    "skew": "skew_s",
}


def parsed(settings: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values of ``name=value``. Raises UsageError for what is not of that form."""
    found = []
    for setting in settings:
        name, separator, value = setting.partition("=")
        if not separator:
            raise UsageError(f"fault {setting!r} was not NAME=VALUE, such as disconnect=30.")
        found.append((name, value))
    return found


def told(disturbances: Disturbances) -> Mapping[str, object]:
    """The present state, for people."""
    d = disturbances
    return {
        "disconnect": d.disconnect_s,
        "abort": d.abort,
        "silent": d.silent,
        "duplicate": d.duplicate,
        "disorder": d.disorder,
        "malformed": d.malformed,
        "skew": d.skew_s,
        "slow": d.slow_bytes,
        "refuse": d.refusals,
        "retry_after": d.retry_after_s,
        "reject": sorted(d.rejected),
        "withhold": {symbol: n for symbol, n in d.withheld.items() if n},
    }
