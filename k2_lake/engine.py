"""What an engine does: run a statement of ``k2_lake/sql`` over files and Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Protocol

import pyarrow as pa

from k2_lake.scan import Files
from k2_market.errors import UnknownName

Input = Files | pa.Table

ENGINES = ("duckdb", "spark")


def engine_name(env: Mapping[str, str]) -> str:
    """Which engine makes the tables, by K2_ENGINE. Raises UnknownName."""
    name = env.get("K2_ENGINE") or ENGINES[0]
    if name not in ENGINES:
        raise UnknownName("engine (K2_ENGINE)", name, ENGINES)
    return name


class Engine(Protocol):
    """Runs SQL over named inputs and gives Arrow with exact decimals and UTC times."""

    name: str

    def query(
        self, sql: str, inputs: Mapping[str, Input], schema: pa.Schema | None = None
    ) -> pa.Table:
        """The result of one statement in which every input stands under its name.

        With ``schema`` the columns are cast to it; a cast that would lose something raises.
        """
        ...


@cache
def statement(name: str) -> str:
    """The text of ``k2_lake/sql/<name>.sql``, with ``{placeholders}`` for ``str.format``."""
    return files("k2_lake.sql").joinpath(f"{name}.sql").read_text(encoding="utf-8")
