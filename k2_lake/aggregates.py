"""Aggregated trades beside the raw trades that they stand for: of both, each trade is there once.

Binance publishes its trades twice, one by one and aggregated, and files of either kind may be
loaded over the other or over what came live. See docs/decisions/0009-aggregated-beside-raw.md.
"""

from __future__ import annotations

from datetime import date
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
)
from pyiceberg.table import Table

from k2_lake.engine import Engine, Held, statement
from k2_lake.held import InMemory
from k2_lake.scan import Files, of_day, planned
from k2_market.records import AGGREGATED, TRADE

# Ids of aggregated trades are from AGGREGATED on and below this, in the order of text.
_BEYOND = AGGREGATED[:-1] + chr(ord(AGGREGATED[-1]) + 1)
# What the statements look at.
_LOOKED_AT = ["exchange", "symbol", "trade_id", "source_sequence", "trade_count"]


def without_overlaps(engine: Engine, trades: Held, schema: pa.Schema | None = None) -> Held:
    """The trades, each key once, without those that are there both raw and aggregated.

    Columns beside key, sequence, count, time and eligibility may be missing.
    """
    aggregated = trades.beginning("trade_id", AGGREGATED)
    if not 0 < aggregated < trades.rows:
        return trades
    trades = trades.kept()
    within = _within(engine, trades).kept()
    sql = "select count(*) as n from within where found > 0"
    if not engine.query(sql, {"within": within})["n"][0].as_py():
        return trades
    columns = ", ".join(f"t.{name}" for name in trades.columns)
    sql = statement("without_overlaps").format(columns=columns)
    return trades.then(engine, sql, {"trades": trades, "within": within}, schema)


def against_gold(
    engine: Engine, gold: Table, day: date, incoming: pa.Table
) -> tuple[pa.Table, bool]:
    """The incoming trades that gold may take, and whether some overlap with what it has.

    Aggregated trades that are all there raw are left out; where anything else overlaps, the day has
    to be computed anew. Days without aggregated trades pay a look at the metadata of their files.
    """
    near = _overlapping(engine, gold, day, incoming)
    if not near.num_rows:
        return incoming, False
    both = InMemory(pa.concat_tables([incoming.select(_LOOKED_AT), near]))
    within = _within(engine, both).table()
    partial = within.filter(pc.greater(within["found"], pa.scalar(0)))
    new = pc.invert(pc.is_in(partial["trade_id"], value_set=near["trade_id"].combine_chunks()))
    complete = pc.equal(partial["found"], partial["trade_count"])
    covered = partial.filter(pc.and_(complete, new)).select(["exchange", "symbol", "trade_id"])
    overlaps = covered.num_rows < partial.num_rows
    if not covered.num_rows:
        return incoming, overlaps
    names = ", ".join(f"e.{name}" for name in TRADE.columns)
    sql = statement("without_rows").format(columns=names, id="trade_id")
    rest = engine.query(sql, {"existing": incoming, "replaced": covered}, TRADE.schema)
    return rest, overlaps


def has_aggregated(rows: pa.Table) -> bool:
    """Whether some of the rows, trades or quotes, are aggregated trades."""
    return "trade_id" in rows.column_names and _some(_is_aggregated(rows))


def overlaps(engine: Engine, silver: Files, day: date) -> int:
    """How many trades of the day, each key once, gold leaves out because others stand for them."""
    of_the_day = f"from silver where trade_date = date '{day.isoformat()}'"
    sql = f"select count(*) as n {of_the_day} and trade_id like '{AGGREGATED}%'"
    if not engine.query(sql, {"silver": silver}).to_pylist()[0]["n"]:
        return 0
    sql = (
        "select exchange, symbol, trade_id, min(source_sequence) as source_sequence,"
        " min(trade_count) as trade_count, min(timestamp) as timestamp,"
        f" bool_and(candle_eligible) as candle_eligible {of_the_day}"
        " group by exchange, symbol, trade_id"
    )
    trades = engine.held(sql, {"silver": silver})
    return trades.rows - without_overlaps(engine, trades).rows


def _overlapping(engine: Engine, gold: Table, day: date, incoming: pa.Table) -> pa.Table:
    """The rows of gold that could overlap: raw ones near aggregated, aggregated near raw."""
    aggregated = _is_aggregated(incoming)
    parts = [
        _of_gold(engine, gold, And(of_day("trade_date", day), where), negation)
        for where, negation in (
            (_near_aggregates(incoming.filter(aggregated)), "not"),
            (_near_raws(incoming.filter(pc.invert(aggregated))), ""),
        )
        if where is not None
    ]
    return pa.concat_tables(parts) if parts else incoming.select(_LOOKED_AT).slice(0, 0)


def _of_gold(engine: Engine, gold: Table, where: BooleanExpression, negation: str) -> pa.Table:
    files = planned(gold, TRADE.schema, where)
    schema = pa.schema([TRADE.schema.field(name) for name in _LOOKED_AT])
    if not files.files:
        return schema.empty_table()
    sql = f"select {', '.join(_LOOKED_AT)} from gold where trade_id {negation} like '{AGGREGATED}%'"
    return engine.query(sql, {"gold": files}, schema)


def _near_aggregates(aggregated: pa.Table) -> BooleanExpression | None:
    if not aggregated.num_rows:
        return None
    before = pc.subtract(aggregated["source_sequence"], aggregated["trade_count"])
    return reduce(
        And,
        [
            _exchanges(aggregated),
            GreaterThanOrEqual("source_sequence", _least(before)),
            LessThanOrEqual("source_sequence", _most(aggregated["source_sequence"])),
        ],
    )


def _near_raws(raws: pa.Table) -> BooleanExpression | None:
    if not raws.num_rows:
        return None
    return reduce(
        And,
        [
            _exchanges(raws),
            GreaterThanOrEqual("source_sequence", _least(raws["source_sequence"])),
            GreaterThanOrEqual("trade_id", AGGREGATED),
            LessThan("trade_id", _BEYOND),
        ],
    )


def _exchanges(trades: pa.Table) -> BooleanExpression:
    named: Any = pc.min_max(trades["exchange"]).as_py()
    return And(
        GreaterThanOrEqual("exchange", named["min"]), LessThanOrEqual("exchange", named["max"])
    )


def _within(engine: Engine, trades: Held) -> Held:
    sql = statement("raws_within").format(aggregated=AGGREGATED)
    return trades.then(engine, sql, {"trades": trades})


def _is_aggregated(trades: pa.Table) -> Any:
    return pc.starts_with(trades["trade_id"], AGGREGATED)


def _some(mask: Any) -> bool:
    return bool(pc.any(mask, min_count=0).as_py())


def _least(numbers: Any) -> int:
    return int(pc.min(numbers).as_py())


def _most(numbers: Any) -> int:
    return int(pc.max(numbers).as_py())
