"""Queries step back: whoever asks for little is answered while others ask for much.

The event loop answers what memory has; on a machine with few cores a query would keep it waiting
for its turn at the processor, all of which it takes. Where nobody waits, stepping back costs
nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

# More would starve them where other processes take all of the processor.
NICE = 7

T = TypeVar("T")


class Aside:
    """Threads that give way, for work that takes all of the processor that it can get.

    On Linux a thread has a priority of its own, and those that it starts have the same; elsewhere
    it is the process's, and stays. It cannot be taken back without rights that a server should not
    have: so no thread that answers requests steps back itself, it has others work for it.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "aside", initializer=_step_back)

    def run(self, work: Callable[[], T]) -> T:
        """Do the work in one of the threads, in this context, and wait for what it gives."""
        return self._pool.submit(copy_context().run, work).result()

    def close(self) -> None:
        """Take no more work; what runs goes on."""
        self._pool.shutdown(wait=False)


def _step_back() -> None:
    if sys.platform == "linux":
        usual = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), usual + NICE)
