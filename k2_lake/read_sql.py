"""Read-only SQL over the lake's tables, for whoever asks: one SELECT, confined to planned files.

Two walls stand one behind the other. The statement is parsed and refused unless it is one SELECT
whose table functions are harmless; and DuckDB itself runs without file system, network, extensions
or settings, but for the data files of the tables that the statement names.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import bind
from k2_lake.evolution import require_readable
from k2_lake.faults import blames_a_file
from k2_lake.locations import local_path
from k2_lake.tables import TABLES, table_def
from k2_lake.travel.as_of import AsOf, planned_as_of
from k2_market.errors import LakeUnavailable, QueryRefused, UsageError

MEMORY = "2GB"
SPILL = "20GB"
TIMEOUT_S = 600.0
BATCH_ROWS = 50_000

# Everything else a FROM can call reads files, settings or memory, or runs SQL we have not seen.
TABLE_FUNCTIONS = {"generate_series", "json_each", "json_tree", "range", "repeat", "unnest"}
QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
# Arrow carries these as bytes that mean something to DuckDB alone.
WITHOUT_TEXT = re.compile(r"\b(BIT|BIGNUM|INTERVAL|VARIANT|UNION|GEOMETRY|TIME WITH TIME ZONE)\b")

_BLANK = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_FIRST_WORD = re.compile(rf"{_BLANK}(\w+)", re.DOTALL)
_EXPLAIN = re.compile(
    rf"{_BLANK}explain(?:\s+analyze\b)?(?:\s*\([^)]*\))?\s", re.DOTALL | re.IGNORECASE
)


@dataclass(frozen=True)
class SqlResult:
    """The rows of a statement, to be read once and in order.

    ``types`` are DuckDB's names of the columns' types; HUGEINT is decimal128(38, 0) in ``schema``.
    """

    schema: pa.Schema
    types: tuple[str, ...]
    batches: Iterator[pa.RecordBatch]


def existing_lake(settings: LakeSettings) -> Lake:
    """The lake at these settings. Raises UsageError, and creates nothing, where there is none."""
    if settings.catalog_uri.startswith("sqlite:///"):
        path = Path(settings.catalog_uri.removeprefix("sqlite:///").split("?")[0])
        if not path.is_file():
            raise UsageError(
                f"there is no lake at {settings.home} ({path} does not exist). "
                "Give the folder of one with --home or K2_HOME, or make one: `k2 demo`."
            )
    return Lake(settings)


def existing_table(lake: Lake, name: str) -> Table | None:
    """The table as it is now, to be read, None if it was never written.

    It is left as it is: columns that the record has gained since are null. Raises UnknownName,
    LakeUnavailable, FileBroken, and SchemaMismatch where the record has changed in another way.
    """
    definition = table_def(name)
    table = lake.existing(name)
    if table is not None:
        require_readable(table, definition)
    return table


@contextmanager
def read_sql(
    lake: Lake, sql: str, *, as_of: AsOf | None = None, timeout_s: float = TIMEOUT_S
) -> Iterator[SqlResult]:
    """Run one SELECT over the lake's tables as they are now, or were, under their names.

    Every table of ``TABLES`` exists, empty if it was never written. ``as_of`` goes for each table
    that the statement names; a snapshot id is of one table, so it must be the only one. Raises
    QueryRefused for a statement that would write or reach outside the lake, UsageError for SQL that
    does not run, takes more than ``timeout_s`` or the memory allowed, or asks for a state that is
    not kept, LakeUnavailable when files cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="k2-sql-") as spill:
        connection = duckdb.connect(":memory:", config=_config(spill))
        timer = threading.Timer(timeout_s, connection.interrupt)
        timer.daemon = True
        try:
            with _plain_errors(timeout_s):
                statement = checked(connection, sql)
                names = named_tables(connection, statement)
                _require_one(lake, names, as_of)
                _open_tables(connection, lake, names, as_of)
                timer.start()
                relation = connection.sql(sql)
                reader = relation.to_arrow_reader(BATCH_ROWS)
            types = tuple(str(t) for t in relation.types)
            _require_text(relation.columns, types)
            yield SqlResult(reader.schema, types, _batches(reader, timeout_s))
        finally:
            timer.cancel()
            connection.close()


def checked(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The SELECT in ``sql``, without EXPLAIN. Raises QueryRefused if it is anything else."""
    statements = connection.extract_statements(sql)
    if not statements:
        raise UsageError("there is no statement. Give one, such as: select * from gold.ohlcv_1m")
    if len(statements) > 1:
        raise QueryRefused(f"{len(statements)} statements are refused: give exactly one SELECT.")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN and (explain := _EXPLAIN.match(sql)):
        return checked(connection, sql[explain.end() :])
    if kind != duckdb.StatementType.SELECT:
        word = _FIRST_WORD.match(sql)
        what = word[1].upper() if word else kind.name
        hint = ", with IN and the values to pivot on" if what == "PIVOT" else ""
        raise QueryRefused(f"{what} is refused: the lake is read by one SELECT{hint}.")
    return sql


def named_tables(connection: duckdb.DuckDBPyConnection, select: str) -> set[str]:
    """The names in ``TABLES`` that a SELECT reads.

    Raises QueryRefused when it calls a table function that could reach outside, or writes.
    """
    row = connection.execute("select json_serialize_sql($sql)", {"sql": select}).fetchone()
    tree = json.loads(row[0]) if row else {}
    if tree.get("error", True):
        raise QueryRefused(
            f"the statement is refused: {tree.get('error_message')} "
            "Give one SELECT; a PIVOT needs IN and the values to pivot on."
        )
    return {name for node in _nodes(tree) if (name := _table_name(node)) in TABLES}


def _table_name(node: dict[str, Any]) -> str:
    """The table that a node of the syntax tree names, or nothing; refuses what is not reading."""
    kind = str(node.get("type", ""))
    if kind == "TABLE_FUNCTION":
        function = str(node["function"]["function_name"])
        if function.lower() not in TABLE_FUNCTIONS:
            raise QueryRefused(
                f"the function {function}() is refused: only the lake's tables can be read."
            )
    if kind.endswith("_NODE") and kind not in QUERY_NODES:
        raise QueryRefused(f"{kind.split('_')[0]} is refused: the lake is read by one SELECT.")
    parts = [str(node.get(key) or "") for key in ("schema_name", "table_name")]
    return ".".join(p for p in parts if p).lower()


def _nodes(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def _require_one(lake: Lake, names: set[str], as_of: AsOf | None) -> None:
    """A snapshot id among several tables, or of another one, is told whose it is."""
    if as_of is None or as_of.snapshot_id is None or not names:
        return
    owner = _owner(lake, as_of.snapshot_id, names)
    if owner is None and len(names) == 1:
        return
    if owner is None or {owner} != names:
        of = "no table of the lake" if owner is None else owner
        raise UsageError(
            f"snapshot {as_of.text} is of {of}, but the statement reads "
            f"{', '.join(sorted(names))}. A snapshot id goes for the one table that has it; a tag "
            "or an instant goes for all."
        )


def _owner(lake: Lake, snapshot_id: int, first: set[str]) -> str | None:
    """The table that has the snapshot, those in ``first`` looked at first."""
    for name in sorted(TABLES, key=lambda n: n not in first):
        table = existing_table(lake, name)
        if table is not None and table.snapshot_by_id(snapshot_id) is not None:
            return name
    return None


def _open_tables(
    connection: duckdb.DuckDBPyConnection, lake: Lake, names: set[str], as_of: AsOf | None
) -> None:
    """Make every table visible, with rows if it is among ``names``; then close all other doors."""
    connection.execute("set timezone = 'UTC'")
    for namespace in sorted({t.namespace for t in TABLES.values()}):
        connection.execute(f"create schema {namespace}")
    paths: list[str] = []
    for definition in TABLES.values():
        table = existing_table(lake, definition.name) if definition.name in names else None
        files = planned_as_of(table, definition.schema, as_of)
        io = table.io if table is not None and isinstance(table.io, PyArrowFileIO) else None
        bind(connection, definition.name, files, io)
        connection.execute(f'create view {definition.name} as from "{definition.name}"')
        paths += [p for p in map(local_path, files.paths) if p is not None]
    connection.execute("set allowed_paths = $paths", {"paths": paths})
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _config(spill: str) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "memory_limit": MEMORY,
        "temp_directory": spill,
        "max_temp_directory_size": SPILL,
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
    }


def _require_text(columns: list[str], types: tuple[str, ...]) -> None:
    for name, kind in zip(columns, types, strict=True):
        if WITHOUT_TEXT.search(kind):
            raise UsageError(
                f"column {name!r} is {kind}, which has no exact form here: cast it to varchar."
            )


def _batches(reader: pa.RecordBatchReader, timeout_s: float) -> Iterator[pa.RecordBatch]:
    with _plain_errors(timeout_s):
        yield from reader


@contextmanager
def _plain_errors(timeout_s: float) -> Iterator[None]:
    try:
        yield
    except duckdb.PermissionException as error:
        raise QueryRefused(
            f"the statement reaches outside the lake: {_line(error)}. Only its tables can be read."
        ) from error
    except duckdb.InterruptException as error:
        raise UsageError(f"the statement took more than {timeout_s:g} s: ask for less.") from error
    except duckdb.OutOfMemoryException as error:
        raise UsageError(f"the statement needs more than {MEMORY}: ask for less.") from error
    except duckdb.Error as error:
        if blames_a_file(error):
            raise LakeUnavailable(
                f"a data file cannot be read: {_line(error)}. Run again, for it may just have been "
                "replaced; if it stays so, `k2 doctor --deep` says what mends it."
            ) from error
        raise UsageError(f"the statement cannot be run: {_line(error)}") from error


def _line(error: Exception) -> str:
    """The error's message on one line, without the excerpt that DuckDB draws under it."""
    return " ".join(str(error).split("\n\n")[0].split())
