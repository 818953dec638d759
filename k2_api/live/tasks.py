"""Several things at once, until one of them is done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


async def first_of(*works: Coroutine[object, object, object]) -> None:
    """Run them together until the first ends, and end the others. Raises what one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
