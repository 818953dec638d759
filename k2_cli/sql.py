"""``k2 sql``: read-only SQL over the tables of the lake."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How the rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    ARROW = "arrow"


def sql(
    statement: Annotated[
        str,
        typer.Argument(metavar="SELECT", help="One SELECT of DuckDB.", show_default=False),
    ],
    home: Annotated[
        Path | None,
        typer.Option(help="The lake's folder. [K2_HOME, else .k2]", show_default=False),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Read the tables as of a tag, an instant (2026-03-01T12:00:00Z) or, where one "
            "table is read, a snapshot id. [now]",
            show_default=False,
        ),
    ] = None,
    format: Annotated[  # noqa: A002
        Format,
        typer.Option(help="table shows the first rows for reading, the others all rows."),
    ] = Format.TABLE,
) -> None:
    """Read the lake's tables by SQL.

    Tables: bronze.EXCHANGE_trades, silver.EXCHANGE_trades, silver.rejected, gold.trades,
    gold.ohlcv_1m, _5m, _30m, _1h and _1d; `show tables` lists them, `describe gold.trades` tells
    the columns. Times are UTC. Decimals are exact, in JSON they are strings; binary values are
    lower-case hex. Only reading is possible; anything else is refused.

    Example: k2 sql "select window_start, close from gold.ohlcv_1m order by 1 desc limit 5"
    """
    from k2_cli.output import write_arrow, write_csv, write_json, write_table
    from k2_lake.catalog import LakeSettings
    from k2_lake.read_sql import existing_lake, read_sql
    from k2_lake.travel.as_of import AsOf

    lake = existing_lake(LakeSettings.from_environment(os.environ, home))
    moment = None if as_of is None else AsOf.parse(as_of)
    with read_sql(lake, statement, as_of=moment) as result:
        if format is Format.ARROW:
            write_arrow(result, sys.stdout.buffer)
        else:
            writers = {Format.TABLE: write_table, Format.CSV: write_csv, Format.JSON: write_json}
            writers[format](result, sys.stdout)
        sys.stdout.flush()
