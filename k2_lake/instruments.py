"""The table of instruments: brought up to an exchange's list, and asked for names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue, EqualTo
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.commit import commit, retry_conflicts
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.history import Mode, head_sequence
from k2_lake.results import StepResult
from k2_lake.scan import Files, planned
from k2_lake.tables import INSTRUMENTS_TABLE
from k2_market.errors import UnknownName
from k2_market.instruments import canonical_symbol
from k2_market.listing import INSTRUMENT, Instrument, Version, succeed


@retry_conflicts
def refresh(lake: Lake, exchange: str, listed: Sequence[Instrument], at: datetime) -> StepResult:
    """Bring the rows of one exchange up to its list of that instant, in one commit or none."""
    table = lake.table(INSTRUMENTS_TABLE)
    sequence = head_sequence(table)
    files = _files(table, exchange)
    before = _versions(lake, files)
    after = succeed(before, listed, at)
    if changed := after != before:
        commit(table, add=[_rows(after)], remove=files.files, mode=Mode.RECOMPUTE, days=())
    new = set(after) - set(before)
    figures = {
        "current": sum(v.valid_to is None for v in after),
        "opened": sum(v.valid_to is None for v in new),
        "closed": sum(v.valid_to is not None for v in new),
    }
    return StepResult.of(table, before=sequence, changed=changed, figures=figures)


def history(lake: Lake, exchange: str | None = None) -> tuple[Version, ...]:
    """All versions of the instruments of one exchange, or of all; none where nobody refreshed."""
    return _versions(lake, _files(lake.table(INSTRUMENTS_TABLE), exchange))


def rows(lake: Lake, exchange: str | None = None) -> pa.Table:
    """The rows of one exchange, or of all, by exchange, symbol and time."""
    return _read(lake, _files(lake.table(INSTRUMENTS_TABLE), exchange))


def resolve(versions: Iterable[Version], name: str) -> str:
    """The canonical symbol of a name in any spelling that rule or exchanges know.

    The rule goes first, so that a symbol means the same on every exchange; of the versions, those
    that hold now. Raises UnknownName where neither knows it.
    """
    canonical = canonical_symbol(name)
    current = [v.terms for v in versions if v.valid_to is None]
    symbols = {terms.symbol for terms in current}
    if canonical is not None and (canonical in symbols or not symbols):
        return canonical
    for terms in current:
        if name.upper() in {n.upper() for n in terms.names}:
            return terms.symbol
    raise UnknownName("symbol", name, symbols or ["none was listed yet"])


def _files(table: Table, exchange: str | None) -> Files:
    where = AlwaysTrue() if exchange is None else EqualTo("exchange", exchange)
    return planned(table, INSTRUMENT.schema, where)


def _read(lake: Lake, files: Files) -> pa.Table:
    return DuckDBEngine(io=lake.io).query(
        "select * from files order by exchange, symbol, valid_from",
        {"files": files},
        INSTRUMENT.schema,
    )


def _versions(lake: Lake, files: Files) -> tuple[Version, ...]:
    if not files.files:
        return ()
    found = []
    for row in _read(lake, files).to_pylist():
        valid_from, valid_to = row.pop("valid_from"), row.pop("valid_to")
        terms = Instrument(**{**row, "names": tuple(row["names"])})
        found.append(Version(terms, valid_from, valid_to))
    return tuple(found)


def _rows(versions: Iterable[Version]) -> pa.Table:
    rows = [
        {**asdict(v.terms), "valid_from": v.valid_from, "valid_to": v.valid_to} for v in versions
    ]
    return pa.Table.from_pylist(rows, schema=INSTRUMENT.schema)
