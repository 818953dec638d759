"""Trades or quotes of a day, each once: what gold takes of the rows that silver has."""

from __future__ import annotations

from datetime import date

import pyarrow as pa

from k2_lake.aggregates import without_overlaps
from k2_lake.engine import Engine, Held, Input, statement
from k2_lake.held import InMemory
from k2_lake.scan import Files
from k2_market.kinds import Kind


def once(engine: Engine, kind: Kind, files: Files, day: date) -> tuple[pa.Table, int]:
    """The rows of ``day`` in the files of a tick, each once, and how many there were."""
    sql = f"{_of_silver(kind, day)} order by {', '.join(_order(kind))}"
    rows = engine.query(sql, {"silver": files}, kind.record.schema)
    return _each_once(engine, kind, InMemory(rows)).table(), rows.num_rows


def held_once(engine: Engine, kind: Kind, files: Files, day: date) -> tuple[Held, int]:
    """The same of all files of a day, which may be larger than this machine."""
    inputs: dict[str, Input] = {"silver": files}
    rows = engine.held(_of_silver(kind, day), inputs, kind.record.schema, _order(kind))
    return _each_once(engine, kind, rows), rows.rows


def statement_for(name: str, kind: Kind, alias: str) -> str:
    """The text of a statement with all columns of ``kind``, which stand under ``alias`` there."""
    return statement(name).format(columns=_columns(kind, alias), id=kind.identifier)


def _of_silver(kind: Kind, day: date) -> str:
    where = f"{kind.record.day} = date '{day.isoformat()}'"
    return f"select {_columns(kind, 's')} from silver s where {where}"


def _order(kind: Kind) -> list[str]:
    return [*kind.record.order, kind.identifier]


def _each_once(engine: Engine, kind: Kind, rows: Held) -> Held:
    """The rows without repeats, and without trades for which others stand."""
    record = kind.record
    rows = rows.once(engine, statement_for("dedupe", kind, "ranked"), record.key, record.schema)
    return without_overlaps(engine, rows, record.schema) if kind is Kind.TRADES else rows


def _columns(kind: Kind, alias: str) -> str:
    return ", ".join(f"{alias}.{c}" for c in kind.record.columns)
