"""What a session decides: when to give a connection up, when to replace it, when to try again.

Pure functions of values, the present time among them. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from random import Random

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
)

from k2_feeds.adapter import Liveness
from k2_market.errors import Disconnected

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 128.0
ANSWERS_WITHIN_S = 10.0
# An exchange that bans an address says for how long, up to days; it is asked again each hour.
LONGEST_ASKED_DELAY_S = 3600.0
# No connection is replaced sooner: an exchange that always asked for it would get two a second.
SETTLED_AFTER_S = 3.0
# What connecting again can help against: the network, the TLS or WebSocket handshake, the server, a
# connection that ended or fell silent. Not a refusal of every subscription, nor Kafka, nor a bug.
RETRYABLE = (Disconnected, OSError, EOFError, ConnectionClosed, InvalidHandshake, InvalidMessage)


class Verdict(Enum):
    """What to do about a connection."""

    KEEP = auto()
    STALE = auto()  # silent for longer than a living one of this exchange is
    UNANSWERED = auto()  # the exchange has not answered every subscription in time
    ROTATE = auto()  # so old, or so announced, that the exchange will soon close it


@dataclass(frozen=True, slots=True)
class Vitals:
    """What is known of a connection. ``blocked``: its frames wait for Kafka, not for the wire.

    ``closing``: the exchange has said that it will close it. ``asked_at`` is when it was last asked
    for a subscription, or last answered one; None stands for ``opened_at``.
    """

    opened_at: float
    last_frame_at: float
    unanswered: int
    blocked: bool
    closing: bool = False
    asked_at: float | None = None


def judge(vitals: Vitals, liveness: Liveness, now: float) -> Verdict:
    """The verdict on a connection; a blocked one is neither stale nor unanswered."""
    silent_after_s, rotate_after_s = liveness.silent_after_s, liveness.rotate_after_s
    if not vitals.blocked:
        asked_at = vitals.opened_at if vitals.asked_at is None else vitals.asked_at
        if vitals.unanswered and now - asked_at >= ANSWERS_WITHIN_S:
            return Verdict.UNANSWERED
        if silent_after_s is not None and now - vitals.last_frame_at >= silent_after_s:
            return Verdict.STALE
    age = now - vitals.opened_at
    if rotate_after_s is not None and age >= rotate_after_s:
        return Verdict.ROTATE
    if vitals.closing and age >= SETTLED_AFTER_S:
        return Verdict.ROTATE
    return Verdict.KEEP


def backoff(random: Random) -> Iterator[float]:
    """Delays in seconds before the next tries, without end: each between 0 and a bound.

    The bound doubles from 1 to 128; the full jitter keeps many sessions that lost the same
    exchange from coming back in step. Begin a new one after a success.
    """
    bound = FIRST_DELAY_S
    while True:
        yield random.uniform(0, bound)
        bound = min(2 * bound, LONGEST_DELAY_S)


def asked_delay(error: BaseException, now: datetime) -> float:
    """How many seconds the exchange asks to be left alone for, 0 if it does not ask.

    ``Retry-After`` of a refused handshake, such as 429, is a number of seconds or a date; ``now``
    is in UTC.
    """
    if not isinstance(error, InvalidStatus):
        return 0.0
    wish = error.response.headers.get("Retry-After", "").strip()
    try:
        seconds = int(wish) if wish.isdecimal() else _seconds_until(wish, now)
    except ValueError:
        return 0.0
    return max(0.0, min(seconds, LONGEST_ASKED_DELAY_S))


def _seconds_until(date: str, now: datetime) -> float:
    """Raises ValueError for what is no date; one without a zone is in UTC."""
    return parsedate_to_datetime(date).replace(tzinfo=now.tzinfo).timestamp() - now.timestamp()
