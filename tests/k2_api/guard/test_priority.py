"""Who asks for little is answered while others ask for much: threads of queries give way."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from k2_api.guard.budget import Budget
from k2_api.guard.database import confined_database
from k2_api.guard.priority import NICE, step_back

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have no own priority")


def niceness() -> dict[int, int]:
    """Of every thread of this process (proc(5): the 19th field of stat)."""
    tasks = Path("/proc/self/task")
    texts = {int(t.name): (t / "stat").read_text() for t in tasks.iterdir()}
    return {thread: int(text.rpartition(")")[2].split()[16]) for thread, text in texts.items()}


def test_the_threads_of_the_database_and_of_queries_give_way(tmp_path: Path) -> None:
    before, usual = set(niceness()), os.getpriority(os.PRIO_PROCESS, 0)
    budget = Budget()
    database = confined_database(str(tmp_path), budget)

    def query() -> int:
        cursor = database.cursor()
        with budget.spent_on(cursor):
            cursor.execute("select sum(x) from range(1000000) t(x)").fetchall()
        return threading.get_native_id()

    with ThreadPoolExecutor(1) as reading:
        asking = reading.submit(query).result()
        found = niceness()
    its_own = {found[thread] for thread in set(found) - before - {asking}}
    assert found[asking] == usual + NICE
    # The one that looks for queries which take too long is no query.
    assert its_own <= {usual, usual + NICE}
    assert usual + NICE in its_own
    assert found[threading.main_thread().native_id or 0] == usual
    budget.stop()
    database.close()


def test_an_event_loop_never_gives_way() -> None:
    async def ask() -> int:
        step_back()
        return niceness()[threading.get_native_id()]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, ask()).result() == os.getpriority(os.PRIO_PROCESS, 0)
