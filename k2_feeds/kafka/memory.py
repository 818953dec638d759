"""Memory that is free again goes back to the system."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Have the C library return what is freed; nothing happens where it cannot (other than glibc).

    Messages that waited for Kafka leave holes all over the heap: without this a feed kept 20 MB
    for good after 13,000 frames had waited once.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
