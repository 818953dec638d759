"""Work done part by part where Spark's workers are, each part in a task of its own.

What K2 raises there is an answer, not a failure of the task: Spark would do it again, three times,
and tell the text of a traceback. It is raised here as what it was.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic

import pyarrow as pa
from pyiceberg.io.pyarrow import PyArrowFileIO

from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.engine import Done, Engine, Part
from k2_lake.store import speak_plainly
from k2_market.errors import K2Error

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_TOLD = pa.schema([pa.field("part", pa.int64())]).append(pa.field("told", pa.binary()))
_TOLD_COLUMNS = "part long, told binary"


@dataclass(frozen=True)
class _Raised:
    """A K2Error on its way from a worker: some are made of more than their message."""

    kind: type[K2Error]
    message: str

    def error(self) -> K2Error:
        """The same error."""
        return self.kind.__new__(self.kind, self.message)


@dataclass(frozen=True)
class _Work(Generic[Part, Done]):
    """All that a worker needs; ``store``, which may hold credentials, is in no ``repr``."""

    work: Callable[[Engine, Part], Done]
    parts: Sequence[Part]
    store: Mapping[str, str]

    def __repr__(self) -> str:
        return f"_Work(of {len(self.parts)} parts)"

    def done(self, number: int) -> Done | _Raised:
        speak_plainly(self.store)
        engine = DuckDBEngine(io=PyArrowFileIO(dict(self.store)))
        try:
            return self.work(engine, self.parts[number])
        except K2Error as error:
            return _Raised(type(error), str(error))


def done_by_workers(
    session: SparkSession,
    work: Callable[[Engine, Part], Done],
    parts: Sequence[Part],
    store: Mapping[str, str],
) -> list[Done]:
    """What ``work`` makes of each part, in their order; ``store`` has the file store's properties.

    Raises the K2Error of the first part that raised one.
    """
    if not parts:
        return []
    run = partial(_run, work=_Work(work, tuple(parts), dict(store)))
    told = session.range(0, len(parts), 1, len(parts)).mapInArrow(run, _TOLD_COLUMNS).toArrow()
    found: dict[int, Done | _Raised] = {
        row["part"]: pickle.loads(row["told"])  # noqa: S301
        for row in told.to_pylist()
    }
    return [_done(found[number]) for number in range(len(parts))]


def _run(batches: Iterable[pa.RecordBatch], work: _Work[Part, Done]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for number in map(int, batch.column(0)):
            told = pickle.dumps(work.done(number))
            yield pa.RecordBatch.from_pylist([{"part": number, "told": told}], schema=_TOLD)


def _done(outcome: Done | _Raised) -> Done:
    if isinstance(outcome, _Raised):
        raise outcome.error()
    return outcome
