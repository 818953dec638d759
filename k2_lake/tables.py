"""Every table of the lake, derived from the records in ``k2_market``.

Tables are partitioned by DATE columns (and exchange in gold) with identity transforms, so that a
day is a set of whole files that can be replaced in one commit.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table

from k2_market.conditions import DAY_CONDITION
from k2_market.errors import UnknownName
from k2_market.exchanges import EXCHANGES, Exchange
from k2_market.kinds import Kind
from k2_market.klines import RECONCILIATION
from k2_market.listing import INSTRUMENT
from k2_market.maintenance import MAINTENANCE
from k2_market.records import CANDLE, GAP, RAW_FRAME, REJECTED, Record, with_day
from k2_market.timeframes import TIMEFRAMES

# The property that says what tells the rows of a table apart, for no column does.
KEY = "k2.key"

# Retries are ours: PyIceberg's own would commit the rows of a stale writer a second time.
PROPERTIES = {
    "format-version": "2",
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "50",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "50",
    "write.parquet.compression-codec": "zstd",
    # Small row groups let a tick on a full day read only the minutes it touches.
    "write.parquet.row-group-limit": "32768",
    # Ids, times and offsets hardly repeat: a dictionary of them is larger than they are, and a page
    # of few rows cannot be read without all of it.
    "write.parquet.dict-size-bytes": "16384",
    "write.parquet.page-row-limit": "4096",
}


@dataclass(frozen=True)
class TableDef:
    """A table: its name with namespace, the record of its rows, and what it holds.

    ``made_from`` names the tables whose commits it follows: of those, snapshots that it has not
    consumed are kept, and its own commits may record progress in no others.
    """

    name: str
    record: Record
    doc: str
    made_from: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """The part before the dot: bronze, silver, gold or ops."""
        return self.name.split(".")[0]

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """The identity partition columns: the day, where there is one, first."""
        return tuple(c for c in (self.record.day, *self.record.partition) if c)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows."""
        return self.record.schema

    @property
    def key_property(self) -> str:
        """The record's key as the table's property ``KEY`` holds it."""
        return ",".join(self.record.key)


def iceberg_schema(definition: TableDef) -> Schema:
    """The Iceberg schema of a table: ids in column order, docs from the record."""
    return assign_fresh_schema_ids(Catalog._convert_schema_if_needed(definition.schema))


def name_of(table: Table) -> str:
    """``gold.trades`` of an open table, without the catalog's name."""
    return ".".join(table.name()[-2:])


def bronze_name(exchange: str, kind: Kind) -> str:
    """``bronze.<exchange>_<kind>``."""
    return f"bronze.{exchange}_{kind}"


def silver_name(exchange: str, kind: Kind) -> str:
    """``silver.<exchange>_<kind>``."""
    return f"silver.{exchange}_{kind}"


def gold_name(kind: Kind) -> str:
    """``gold.<kind>``."""
    return f"gold.{kind}"


def candle_name(timeframe: str) -> str:
    """``gold.ohlcv_<timeframe>``."""
    return f"gold.ohlcv_{timeframe}"


REJECTED_TABLE = "silver.rejected"
GAPS_TABLE = "gold.gaps"
TRADES_TABLE = gold_name(Kind.TRADES)
INSTRUMENTS_TABLE = "gold.instruments"
MAINTENANCE_TABLE = "ops.maintenance"
RECONCILIATION_TABLE = "gold.reconciliation"
CONDITION_TABLE = "gold.day_condition"


def _of_exchange(exchange: Exchange, kind: Kind) -> tuple[TableDef, TableDef]:
    return (
        TableDef(
            bronze_name(exchange.name, kind),
            RAW_FRAME,
            f"Raw frames of {kind} of {exchange.title} as they came.",
        ),
        TableDef(
            silver_name(exchange.name, kind),
            with_day(kind.record, "ingest_date"),
            f"{kind.title()} of {exchange.title}, parsed and valid, every arrival.",
            (bronze_name(exchange.name, kind),),
        ),
    )


TABLES: dict[str, TableDef] = {
    t.name: t
    for t in (
        *(t for kind in Kind for e in EXCHANGES.values() for t in _of_exchange(e, kind)),
        TableDef(
            REJECTED_TABLE,
            REJECTED,
            "Frames and rows that broke a rule, with the reason.",
            tuple(bronze_name(e, kind) for kind in Kind for e in EXCHANGES),
        ),
        *(
            TableDef(
                gold_name(kind),
                kind.record,
                f"{kind.title()} of all exchanges, each exactly once.",
                tuple(silver_name(e, kind) for e in EXCHANGES),
            )
            for kind in Kind
        ),
        TableDef(
            GAPS_TABLE,
            GAP,
            "Trades that are missing, or were until they were fetched.",
            (TRADES_TABLE,),
        ),
        TableDef(INSTRUMENTS_TABLE, INSTRUMENT, "What exchanges list, and since when."),
        # Made from all of gold, but by whole days: it needs no commit to be kept for it.
        TableDef(CONDITION_TABLE, DAY_CONDITION, "Whether a day of an instrument is whole."),
        TableDef(RECONCILIATION_TABLE, RECONCILIATION, "Candles beside the exchange's own."),
        *(
            TableDef(
                candle_name(name),
                CANDLE,
                f"Candles of {name}: traded windows only.",
                (TRADES_TABLE if frame.source is None else candle_name(frame.source),),
            )
            for name, frame in TIMEFRAMES.items()
        ),
        TableDef(MAINTENANCE_TABLE, MAINTENANCE, "What maintenance did, with figures."),
    )
}


def consumers_of(name: str) -> list[str]:
    """The tables that are made from that one."""
    return [t.name for t in TABLES.values() if name in t.made_from]


def table_def(name: str) -> TableDef:
    """The definition of that table. Raises UnknownName."""
    try:
        return TABLES[name]
    except KeyError:
        raise UnknownName("table", name, TABLES) from None
