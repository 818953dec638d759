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
LONGEST_RETRY = timedelta(minutes=10)


@dataclass(frozen=True)
class Attempt:
    """A run on record for one backlog."""

    active: bool
    succeeded: bool
    ended_at: datetime | None


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
    """How long to wait after the n-th failed attempt: 10 s, doubling, 10 minutes at most."""
    doublings = max(0, min(failures, 20) - 1)
    return min(FIRST_RETRY * int(2**doublings), LONGEST_RETRY)


def decide(
    day: date, backlog: str, what: str, attempts: Sequence[Attempt], busy: bool, now: datetime
) -> Request | Skip:
    """Whether to start a run for this backlog now.

    ``what`` says in words what there is to do, ``attempts`` are the earlier runs for this very
    backlog, oldest first, and ``busy`` whether any run of the kind is still under way.
    """
    if busy:
        return Skip(f"a run is under way; waiting with {what}")
    ended = [a.ended_at for a in attempts if a.ended_at is not None]
    if attempts and ended:
        due = max(ended) + retry_after(len(attempts))
        if now < due:
            return Skip(
                f"attempt {len(attempts)} did not clear {what}; next one at {due:%H:%M:%S} UTC"
            )
    return Request(day, backlog, f"{backlog}-{len(attempts) + 1}")
