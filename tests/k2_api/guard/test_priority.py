"""Who asks for little is answered while others ask for much: threads of queries give way."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from k2_api.guard.budget import ASKING, Budget
from k2_api.guard.database import confined_database
from k2_api.guard.priority import NICE, Aside

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have no own priority")


def niceness() -> dict[int, int]:
    """Of every thread of this process (proc(5): the 19th field of stat)."""
    tasks = Path("/proc/self/task")
    texts = {int(t.name): (t / "stat").read_text() for t in tasks.iterdir()}
    return {thread: int(text.rpartition(")")[2].split()[16]) for thread, text in texts.items()}


def test_the_threads_of_the_database_and_of_queries_give_way(tmp_path: Path) -> None:
    before, usual = set(niceness()), os.getpriority(os.PRIO_PROCESS, 0)
    budget, aside = Budget(), Aside(2)
    database = confined_database(str(tmp_path), budget, aside)

    def query() -> int:
        database.cursor().execute("select sum(x) from range(1000000) t(x)").fetchall()
        return threading.get_native_id()

    def ask() -> tuple[int, int]:
        return threading.get_native_id(), aside.run(query)

    with ThreadPoolExecutor(1) as answering:
        asking, reading = answering.submit(ask).result()
        found = niceness()
    its_own = {found[thread] for thread in set(found) - before - {asking, reading}}
    assert found[reading] == usual + NICE
    # It answers the next request as well, which may ask for little.
    assert found[asking] == usual
    # The one that looks for queries which take too long is no query.
    assert its_own <= {usual, usual + NICE}
    assert usual + NICE in its_own
    assert found[threading.main_thread().native_id or 0] == usual
    aside.close()
    database.close()


def test_work_done_aside_has_the_context_of_who_asks_and_raises_there() -> None:
    aside = Aside(1)
    ASKING.set("somebody")
    assert aside.run(ASKING.get) == "somebody"
    with pytest.raises(ZeroDivisionError):
        aside.run(lambda: 1 // 0)
    aside.close()
