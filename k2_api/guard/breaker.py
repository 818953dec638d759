"""A breaker for each thing that the API depends on: what fails again and again is left alone.

After ``FAILURES`` in a row nothing is asked of it for ``REST_S``; then the next request tries it,
and closes the breaker or opens it again. So it recovers by itself, and nobody waits for a server
that does not answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

import pybreaker

from k2_api.guard.refusals import BreakerOpen

FAILURES = 5
REST_S = 10.0

logger = logging.getLogger(__name__)


class Breaker(pybreaker.CircuitBreakerListener):
    """The breaker of one dependency; ``is_failure`` says which errors are its fault."""

    def __init__(
        self, name: str, is_failure: Callable[[BaseException], bool], rest_s: float = REST_S
    ) -> None:
        self.name, self._rest_s = name, rest_s
        self._opened_at = 0.0
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=FAILURES,
            reset_timeout=rest_s,
            exclude=[lambda error: not is_failure(error)],
            listeners=[self],
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``: it is being tried."""
        return self._circuit.current_state

    @property
    def open_for_s(self) -> float:
        """How long it stays open; 0 where it may be tried."""
        if self._circuit.current_state != pybreaker.STATE_OPEN:
            return 0.0
        return max(self._opened_at + self._rest_s - time.monotonic(), 0.0)

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Ask the dependency within. Raises BreakerOpen where it is to be left alone."""
        try:
            with self._circuit.calling():
                yield
        except pybreaker.CircuitBreakerError:
            raise BreakerOpen(
                f"the {self.name} failed {FAILURES} times in a row and is left alone for a moment. "
                "Ask again then.",
                ceil(self.open_for_s) or 1,
            ) from None

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,  # noqa: ARG002
        old_state: pybreaker.CircuitBreakerState | None,  # noqa: ARG002
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        """Note when it opened, and tell the log."""
        if new_state.name == pybreaker.STATE_OPEN:
            self._opened_at = time.monotonic()
        logger.warning("the breaker of the %s is %s", self.name, new_state.name)
