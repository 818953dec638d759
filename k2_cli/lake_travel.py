"""``k2 lake snapshots``, ``tag``, ``diff`` and ``rollback``: the history of the tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_cli.lake import Format, Home

if TYPE_CHECKING:
    from k2_lake.catalog import Lake

_Table = Annotated[str, typer.Argument(metavar="TABLE", help="Such as gold.trades.")]
_Format = Annotated[Format, typer.Option("--format", help="How to write it.")]
_WHEN = "A snapshot id, a tag, or an instant (2026-03-01T12:00:00Z)."


def _lake_of(home: Path) -> Lake:
    from k2_lake.catalog import LakeSettings
    from k2_lake.read_sql import existing_lake

    return existing_lake(LakeSettings.from_environment(os.environ, home))


def snapshots(
    table: _Table,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 30,
    home: Home = DEFAULT_HOME,
    format: _Format = Format.TABLE,  # noqa: A002
) -> None:
    """List the states of a table that can still be read, the newest first.

    Each is the work of one commit: its mode, the days it touched, the rows it added and removed,
    and for bronze the Kafka offsets it read. A snapshot with a tag is kept until the tag is taken
    off.

    Example: k2 lake snapshots gold.trades
    """
    from k2_cli.show_travel import write_snapshots
    from k2_lake.travel.snapshots import kept_snapshots, written_table

    found = kept_snapshots(written_table(_lake_of(home), table))
    write_snapshots(found, limit, as_json=format is Format.JSON)


def tag(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A letter first: q3-2026, audit_1.")],
    table: Annotated[
        list[str] | None,
        typer.Option(help="Only this table; may be given several times.", show_default="all"),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the name off again.")] = False,
    home: Home = DEFAULT_HOME,
    format: _Format = Format.TABLE,  # noqa: A002
) -> None:
    """Name the present state of all tables, so that it can be read for good.

    The snapshots are chosen to belong together: those of gold, silver and bronze are the ones that
    the tagged candles were made from, also while ticks run. *behind* counts the commits that a
    table is further by now. Expiry leaves tagged snapshots alone; a tag does not move.

    Example: k2 lake tag q3-2026, then k2 sql --as-of q3-2026 "select ..."
    """
    from k2_cli.show_travel import write_tagged, write_untagged
    from k2_lake.travel.tags import remove_tag, set_tag

    opened, only = _lake_of(home), table or []
    if remove:
        write_untagged(name, remove_tag(opened, name, only), as_json=format is Format.JSON)
    else:
        write_tagged(name, set_tag(opened, name, only), as_json=format is Format.JSON)


def diff(
    table: _Table,
    before: Annotated[str, typer.Argument(metavar="A", help=_WHEN)],
    after: Annotated[str, typer.Argument(metavar="B", help=_WHEN)],
    rows: Annotated[bool, typer.Option("--rows", help="List the rows that differ.")] = False,
    home: Home = DEFAULT_HOME,
    format: _Format = Format.TABLE,  # noqa: A002
) -> None:
    """Tell what differs from state A of a table to state B: rows added, removed, changed, by day.

    Rows are compared by key and value, not by file: a compaction changes nothing. A row that moved
    to another day is removed there and added here.

    Example: k2 lake diff gold.ohlcv_1m q3-2026 2026-11-20T00:00:00Z --rows
    """
    from k2_cli.show_travel import SHOWN_ROWS, write_diff
    from k2_lake.duckdb_engine import DuckDBEngine
    from k2_lake.travel.as_of import AsOf, resolve_as_of
    from k2_lake.travel.diff import diff as compare
    from k2_lake.travel.diff import differences
    from k2_lake.travel.snapshots import written_table

    opened = _lake_of(home)
    found, engine = written_table(opened, table), DuckDBEngine(io=opened.io)
    one, other = (resolve_as_of(found, AsOf.parse(text)) for text in (before, after))
    days = compare(engine, found, one, other)
    as_json = format is Format.JSON
    limit = None if as_json else SHOWN_ROWS
    listed = differences(engine, found, one, other, limit) if rows else None
    write_diff(table, days, listed, as_json=as_json)


def rollback(
    table: _Table,
    to: Annotated[str, typer.Option(metavar="WHEN", help=_WHEN)],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    home: Home = DEFAULT_HOME,
    format: _Format = Format.TABLE,  # noqa: A002
) -> None:
    """Bring a table back to an older state: a new commit with the rows and the progress of then.

    Tables made from it compute the days that differ anew at their next tick, and the table itself
    takes up again what its sources committed since. Bronze reads from Kafka again what came after;
    it is refused unless Kafka still holds every one of these frames. Safe while ticks run.

    Example: k2 lake rollback silver.binance_trades --to before-upgrade --dry-run
    """
    from k2_assets.resources import BROKER_FOLDER
    from k2_assets.rollback import require_in_kafka
    from k2_cli.show_travel import write_rollback
    from k2_feeds.kafka.broker import broker_settings
    from k2_feeds.kafka.cluster import from_environment
    from k2_lake.duckdb_engine import DuckDBEngine
    from k2_lake.travel.as_of import AsOf
    from k2_lake.travel.rollback import Rollback, plan_rollback, roll_back

    opened, when = _lake_of(home), AsOf.parse(to)
    engine = DuckDBEngine(io=opened.io)
    kafka = from_environment(os.environ) or broker_settings(home.absolute() / BROKER_FOLDER)

    def allowed(plan: Rollback) -> None:
        require_in_kafka(kafka, plan)

    if dry_run:
        plan = plan_rollback(opened, engine, table, when)
        allowed(plan)
    else:
        plan = roll_back(opened, engine, table, when, allowed)
    write_rollback(plan, dry_run=dry_run, as_json=format is Format.JSON)
