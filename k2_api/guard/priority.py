"""Queries step back: whoever asks for little is answered while others ask for much.

The event loop answers what memory has; on a machine with few cores a query would keep it waiting
for its turn at the processor, all of which it takes. Where nobody waits, stepping back costs
nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

NICE = 10

T = TypeVar("T")

_stepped = threading.local()


def step_back() -> None:
    """Give way with this thread, from now on; never with the main one or one of an event loop.

    On Linux a thread has a priority of its own; elsewhere it is the process's, and stays.
    """
    if getattr(_stepped, "back", False) or threading.current_thread() is threading.main_thread():
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        _stepped.back = True
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def stepped_back(make: Callable[[], T]) -> T:
    """What ``make`` makes, in a thread that has stepped back: those that it starts do as well."""
    with ThreadPoolExecutor(1, initializer=step_back) as thread:
        return thread.submit(make).result()
