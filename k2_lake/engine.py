"""What an engine does: run a statement of ``k2_lake/sql`` over files and Arrow tables.

What a statement gives comes to this process, or stays where the engine has it: a day may be larger
than any one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Protocol, TypeVar

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2_lake.outcome import Outputs
from k2_lake.scan import Files
from k2_market.errors import UnknownName

Part = TypeVar("Part")
Done = TypeVar("Done")

ENGINES = ("duckdb", "spark")


def engine_name(env: Mapping[str, str]) -> str:
    """Which engine makes the tables, by K2_ENGINE. Raises UnknownName."""
    name = env.get("K2_ENGINE") or ENGINES[0]
    if name not in ENGINES:
        raise UnknownName("engine (K2_ENGINE)", name, ENGINES)
    return name


class Held(Protocol):
    """The rows of a statement where its engine has them: inputs of others, or files to be."""

    @property
    def columns(self) -> list[str]:
        """The names of their columns."""
        ...

    @property
    def rows(self) -> int:
        """How many there are."""
        ...

    def once(self, engine: Engine, sql: str, key: Sequence[str], schema: pa.Schema) -> Held:
        """The rows where no key is there twice; else also what ``sql`` makes of those that are.

        They are its ``incoming``: with others beside them, if that is no dearer.
        """
        ...

    def beginning(self, column: str, prefix: str) -> int:
        """How many there are whose text in ``column`` begins with ``prefix``."""
        ...

    def then(
        self, engine: Engine, sql: str, inputs: Mapping[str, Input], schema: pa.Schema | None = None
    ) -> Held:
        """The rows of another statement, held where these are."""
        ...

    def kept(self) -> Held:
        """The same, made once, for more statements than one."""
        ...

    def table(self) -> pa.Table:
        """The rows in this process."""
        ...

    def written(self, table: Table, outputs: Outputs) -> list[DataFile]:
        """The files written for them, in the order of the record; nobody sees them before a commit.

        ``outputs`` knows of each. Raises as ``Engine.query`` does.
        """
        ...


Input = Files | pa.Table | Held


class Engine(Protocol):
    """Runs SQL over named inputs and gives Arrow with exact decimals and UTC times.

    ``parts_at_once`` says how many parts of ``each`` make one good piece of work.
    """

    name: str
    parts_at_once: int

    def query(
        self, sql: str, inputs: Mapping[str, Input], schema: pa.Schema | None = None
    ) -> pa.Table:
        """The result of one statement in which every input stands under its name.

        With ``schema`` the columns are cast to it; a cast that would lose something raises.
        """
        ...

    def each(self, work: Callable[[Engine, Part], Done], parts: Sequence[Part]) -> list[Done]:
        """What ``work`` makes of each part, in their order, given an engine of where it runs.

        That may be another process, on another machine, and more than once: work, parts and what
        comes back can be pickled. The first K2Error that a part raises is raised here.
        """
        ...

    def held(
        self,
        sql: str,
        inputs: Mapping[str, Input],
        schema: pa.Schema | None = None,
        order: Sequence[str] = (),
    ) -> Held:
        """The same rows where the engine has them, in the columns of ``schema``.

        In this process they stand in ``order``, or as the statement says; elsewhere they are
        ordered when they are written.
        """
        ...

    def procedures(self) -> Procedures | None:
        """Iceberg's own, where the engine has them and finds the tables in their catalog."""
        ...


class Procedures(Protocol):
    """Iceberg's own maintenance of a table; the guards are those of ``k2_lake.maintenance``."""

    def rewritten(self, table: Table, files: Files, order: Sequence[str]) -> list[DataFile]:
        """The rows of these files in new ones, in that order; nobody sees them before a commit."""
        ...

    def expire(self, table: Table, snapshots: Sequence[int]) -> None:
        """Remove these snapshots, none that has a name, and at once what only they reached."""
        ...

    def remove(self, table: Table, files: Mapping[str, datetime], before: datetime) -> set[str]:
        """Delete those of these files that no snapshot reaches, and tell which.

        They are given with the time of their last change; what changed since ``before`` stays.
        """
        ...


@cache
def statement(name: str) -> str:
    """The text of ``k2_lake/sql/<name>.sql``, with ``{placeholders}`` for ``str.format``."""
    return files("k2_lake.sql").joinpath(f"{name}.sql").read_text(encoding="utf-8")
