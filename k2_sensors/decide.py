"""When to request a run: pure decisions over what the tables, Kafka and the run history say.

The truth is the backlog in the tables and the runs on record, never a cursor: a sensor that is
restarted, or whose last tick was lost, decides the same again. A run key names the backlog it is
for and which attempt it is, so that one backlog is never worked on twice at a time, and a failed
attempt is followed by another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

FIRST_RETRY = timedelta(seconds=10)
# While a check of gold fails frames go on arriving: bronze must not fall behind by more than this,
# for the embedded broker holds only megabytes.
LONGEST_RETRY = timedelta(minutes=1)


@dataclass(frozen=True)
class Attempt:
    """A run on record and the backlog it was for, None for a run that no sensor asked for."""

    backlog: str | None
    succeeded: bool
    ended_at: datetime


@dataclass(frozen=True)
class Request:
    """Start a run of ``day`` under this key; ``backlog`` identifies what it is for."""

    day: date
    backlog: str
    run_key: str


@dataclass(frozen=True)
class Skip:
    """Start nothing, and why."""

    reason: str


def backlog_id(name: str, day: date, state: Mapping[str, object]) -> str:
    """A short name of a backlog: the same state gives the same name."""
    digest = hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()[
        :16
    ]
    return f"{name}-{day.isoformat()}-{digest}"


def retry_after(failures: int) -> timedelta:
    """How long to wait after the n-th failed attempt: 10 s, doubling, a minute at most."""
    doublings = max(0, min(failures, 20) - 1)
    return min(FIRST_RETRY * int(2**doublings), LONGEST_RETRY)


def in_vain(backlog: str, recent: Sequence[Attempt]) -> list[Attempt]:
    """The latest attempts that did not help, ``recent`` being oldest first.

    Those that failed, whatever their backlog: new frames change the backlog at every tick, and
    what fails for one fails for the next. Those that succeeded and yet left this very backlog.
    """
    found: list[Attempt] = []
    for attempt in reversed(recent):
        if attempt.succeeded and attempt.backlog != backlog:
            break
        found.append(attempt)
    return found[::-1]


def decide(
    day: date, backlog: str, what: str, recent: Sequence[Attempt], made: int, now: datetime
) -> Request | Skip:
    """Whether to start a run for this backlog now, when none of the kind is under way.

    ``what`` says in words what there is to do, ``recent`` are the latest runs of the same kind,
    oldest first, and ``made`` is how many runs there have ever been for this very backlog.
    """
    tried = in_vain(backlog, recent)
    if tried:
        due = max(a.ended_at for a in tried) + retry_after(len(tried))
        if now < due:
            return Skip(
                f"attempt {len(tried)} did not clear {what}; next one at {due:%H:%M:%S} UTC"
            )
    return Request(day, backlog, f"{backlog}-{made + 1}")
