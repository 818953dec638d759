"""How often, how long and after what pauses a request is tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import uniform

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from k2_client.problems import K2Problem
from k2_market.errors import K2Error

log = logging.getLogger(__name__)

# Requests that were refused together should not all come back at the same instant.
_SPREAD_S = 0.25
_GROWING = wait_random_exponential(multiplier=0.25, max=10)


@dataclass(frozen=True)
class Patience:
    """At most so many ``attempts``, and none that would begin ``total_s`` after the first.

    A minute of a rate limit is sat through by default, an outage of three minutes not.
    """

    attempts: int = 6
    total_s: float = 180.0

    def retrying(self, sleep: Callable[[float], None] = time.sleep) -> Retrying:
        """What calls a function until it returns, or raises what trying again cannot help."""
        return Retrying(
            stop=stop_after_attempt(self.attempts) | stop_before_delay(self.total_s),
            wait=pause_s,
            retry=retry_if_exception(is_retryable),
            before_sleep=_tell,
            sleep=sleep,
            reraise=True,
        )


def is_retryable(error: BaseException) -> bool:
    """Whether asking again may help."""
    return isinstance(error, K2Error) and error.retryable


def pause_s(state: RetryCallState) -> float:
    """How long to wait: what the API asks for, else a random time within a growing bound."""
    error = None if state.outcome is None else state.outcome.exception()
    asked = error.retry_after_s if isinstance(error, K2Problem) else None
    return _GROWING(state) if asked is None else asked + uniform(0, _SPREAD_S)


def _tell(state: RetryCallState) -> None:
    error = None if state.outcome is None else state.outcome.exception()
    log.warning(
        "attempt %d: %s; again in %.1f s", state.attempt_number, error, state.upcoming_sleep
    )
