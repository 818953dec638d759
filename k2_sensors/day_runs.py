"""Runs by day: of all days that have something to do, as many at once as is good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import dagster as dg

from k2_sensors.decide import Request, Skip

REASONS_SHOWN = 5


def requested(
    days: Sequence[tuple[date, list[str]]],
    under_way: int,
    at_once: int,
    decided: Callable[[date, list[str]], Request | Skip],
    run: Callable[[Request], dg.RunRequest],
) -> dg.SensorResult | dg.SkipReason:
    """What a sensor answers: the runs of the first days that may begin, or why none does.

    ``days`` come in the order in which they shall be worked off, each with the state of its
    backlog; with those ``under_way`` there are never more than ``at_once``.
    """
    requests: list[dg.RunRequest] = []
    waiting: list[str] = []
    for day, state in days:
        if len(requests) + under_way >= at_once:
            beyond = "later" if day <= days[-1][0] else "earlier"
            waiting.append(f"{day} and {beyond} days wait for runs to end")
            break
        decision = decided(day, state)
        if isinstance(decision, Request):
            requests.append(run(decision))
        else:
            waiting.append(decision.reason)
    if not requests:
        return dg.SkipReason("; ".join(waiting[:REASONS_SHOWN]))
    return dg.SensorResult(run_requests=requests)
