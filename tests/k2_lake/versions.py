"""K2 with the records of another time, as a process of its own: ``python -m`` this, WHEN HOME.

Records are changed before anything is made of them, so that tables, parsers, rules and the API are
those of that version. ``earlier``: without some of their nullable columns; it fills a lake.
``later``: with a nullable column more in every record; it goes on with a lake that has ticked once,
and prints what it finds.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from k2_market import listing, records

if TYPE_CHECKING:
    from tests.frames import Print

MINUTE, DAY = 60_000, 86_400_000

EXCHANGE = "binance"

# A map, a list and plain ones; the column after them keeps its place.
NEWEST = {"TRADE": {"event_time"}, "QUOTE": {"event_time"}, "GAP": {"reason"}}
NEWEST |= {"RAW_FRAME": {"exchange_symbol"}, "INSTRUMENT": {"contract_currency"}}
ADDED = {"TRADE": 0, "QUOTE": 3, "RAW_FRAME": 1, "REJECTED": 2, "GAP": 4, "CANDLE": 5}


def _module(name: str) -> object:
    return listing if name == "INSTRUMENT" else records


def first() -> list[Print]:
    """What the lake of the earlier version holds."""
    from tests.frames import Print

    return [Print(n, n * MINUTE // 2, f"{100 + n}", "1", n % 2 == 0) for n in range(1, 9)]


def then() -> list[Print]:
    """What comes afterwards: a late trade for a candle that is there, and another day."""
    from tests.frames import Print

    return [Print(9, 3 * MINUTE + 1, "90", "2"), Print(10, DAY, "70", "3")]


def cut() -> None:
    """The records without their newest columns."""
    for name, columns in NEWEST.items():
        record = getattr(_module(name), name)
        schema = pa.schema([f for f in record.schema if f.name not in columns])
        setattr(_module(name), name, replace(record, schema=schema))


def grow() -> None:
    """The records with a column ``note``, at another place in each."""
    for name, place in ADDED.items():
        record = getattr(_module(name), name)
        note = records.field("note", pa.string(), "What there is to say.", nullable=True)
        setattr(_module(name), name, replace(record, schema=record.schema.insert(place, note)))


def _earlier(home: Path) -> None:
    cut()
    from tests.lakes import LakeDriver

    driver = LakeDriver(home, os.environ)
    driver.receive(first(), EXCHANGE)
    driver.tick([EXCHANGE])


def _later(home: Path) -> None:
    grow()

    from k2_assets.checks import conforms
    from k2_lake.scope import Scope
    from k2_market.avro import published_record
    from k2_market.kind_rules import RULES
    from k2_market.kinds import Kind
    from tests.keyed import keyed
    from tests.lakes import LakeDriver

    driver = LakeDriver(home, os.environ)
    driver.receive(then(), EXCHANGE)
    driver.tick([EXCHANGE])
    ticked = driver.everything()
    days = sorted({row["trade_date"] for row in ticked["gold.trades"]})  # type: ignore[type-var]
    scopes = [Scope("gold.trades", day, None) for day in days]  # type: ignore[arg-type]
    rules = RULES[Kind.TRADES].schema
    verdicts = [conforms(rules, driver.lake, driver.engine, scope).agrees for scope in scopes]
    driver.recompute(days, [EXCHANGE])  # type: ignore[arg-type]
    with keyed(driver.lake.settings) as client:
        trades = client.get("/v1/trades?start=2024-08-08").json()["data"]
        model = client.get("/openapi.json").json()["components"]["schemas"]["Trade"]
    found = {
        "rows": {name: len(rows) for name, rows in ticked.items() if rows},
        "same when computed anew": driver.everything() == ticked,
        "verdicts": verdicts,
        "tables": {
            name: driver.lake.table(name).schema().column_names.index("note")
            for name in ("gold.trades", "gold.ohlcv_1d", "silver.rejected", "gold.gaps")
        },
        "trade": trades[0],
        "model": model["properties"]["note"],
        "avro": published_record(records.TRADE)["fields"][0],
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    {"earlier": _earlier, "later": _later}[sys.argv[1]](Path(sys.argv[2]))
