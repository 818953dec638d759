"""Work that is done ahead of whoever takes its results, in a thread of its own."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from queue import Queue
from threading import Event
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Generator[T, None, None], most: int = 2) -> Generator[T, None, None]:
    """The same items, of which up to ``most`` are made before they are taken.

    What making one raises is raised in its place. Closed early, it closes ``items`` where they
    stand, and returns when that is done.
    """
    waiting: Queue[list[T]] = Queue(most)
    closed = Event()

    def make() -> None:
        try:
            for item in items:
                waiting.put([item])
                if closed.is_set():
                    break
        finally:
            items.close()
            waiting.put([])

    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        made = pool.submit(copy_context().run, make)
        taken: list[T] = []
        try:
            while taken := waiting.get():
                yield taken[0]
            made.result()
        finally:
            closed.set()
            while taken:
                taken = waiting.get()
