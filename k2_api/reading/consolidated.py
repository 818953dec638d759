"""One candle for a symbol across exchanges.

Sums, high and low come from the candles of each exchange, the price of the open and of the close
from the exchange whose first trade was the earliest, and whose last one the latest. Candles do not
tell when their trades were, so the trades are looked up by their ids, where more than one exchange
traded in a window. A trade that its table does not hold any more stands behind the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from k2_api.reading.asked import Asked
from k2_api.reading.candle_set import CONSOLIDATED
from k2_api.reading.current import TIMES
from k2_api.reading.datasets import TRADES
from k2_api.reading.derived import Part, aligned, parts, require_bounded, rollup
from k2_api.reading.reader import LakeReader
from k2_api.reading.statements import condition, plan
from k2_lake.candles import rollup_sql
from k2_market.errors import TooLarge, UsageError
from k2_market.records import CANDLE

# The files of trades that are looked into have so many rows at most; it takes some two seconds.
MOST_TRADES = 30_000_000

_IDS = pa.schema([field for field in TIMES if field.name != "timestamp"])
_LOOKED_UP = "select t.exchange, t.symbol, t.trade_id, t.timestamp from {rows} t semi join {ids} i"
_SAME = "t.exchange = i.exchange and t.symbol = i.symbol and t.trade_id = i.trade_id"
# Rows compare by their values, one after the other: times first, then names.
_SIDE_BY_SIDE = f"""(
  select e.* replace (
      '{CONSOLIDATED}' as exchange,
      e.exchange || ':' || e.first_trade_id as first_trade_id,
      e.exchange || ':' || e.last_trade_id as last_trade_id),
    row(coalesce(o.timestamp, e.window_end), e.exchange) as opened,
    row(coalesce(c.timestamp, e.window_start), e.exchange) as closed
  from {{each}} e
  left join {{times}} o on
    o.exchange = e.exchange and o.symbol = e.symbol and o.trade_id = e.first_trade_id
  left join {{times}} c on
    c.exchange = e.exchange and c.symbol = e.symbol and c.trade_id = e.last_trade_id)"""
_END = (
    "(select unix_micros(min(e.window_end)) from {each} e where unix_micros(e.window_start) = r.us)"
)
_TOGETHER = rollup_sql("unix_micros(window_start)", _END, _SIDE_BY_SIDE, "opened", "closed")


def consolidated_rows(reader: LakeReader, asked: Asked, limit: int) -> pa.Table:
    """At most ``limit`` candles behind ``asked.after``, in order.

    Raises LakeUnavailable, TooLarge, and UsageError where no symbol is named.
    """
    if not asked.symbols:
        raise UsageError(
            "consolidated: name the symbols, for candles of all cannot be laid over one another: "
            "symbol=BTC-USDT."
        )
    found = [CANDLE.schema.empty_table()]
    for one in _by_symbol(asked):
        missing = limit - sum(rows.num_rows for rows in found)
        if missing > 0:
            found.append(_of_symbol(reader, one, missing))
    return pa.concat_tables(found)


def _by_symbol(asked: Asked) -> Iterator[Asked]:
    """The question of each symbol that is to come, in order."""
    for symbol in sorted(asked.symbols, reverse=asked.descending):
        behind = None if asked.after is None else str(asked.after[1])
        if behind is None or ((symbol > behind) != asked.descending and symbol != behind):
            yield replace(asked, symbols=(symbol,), after=None)
        elif symbol == behind:
            yield replace(asked, symbols=(symbol,))


def _of_symbol(reader: LakeReader, asked: Asked, limit: int) -> pa.Table:
    within = aligned(asked)
    # A consolidated key names no exchange of the table: it says nothing about its files.
    files = plan(reader, replace(within, after=None))
    found = CANDLE.schema.empty_table()
    for part in parts(within, files, limit):
        require_bounded(part, files)
        made = rollup(part)
        each = reader.arrow(made.sql, asked.newer.inputs(files), made.values, asked.table)
        found = together(reader, each, times_of(reader, part, each))
        if found.num_rows >= limit:
            break
    return _last_first(found, descending=asked.descending).slice(0, limit)


def _last_first(rows: pa.Table, *, descending: bool) -> pa.Table:
    return rows.take(pa.array(range(rows.num_rows - 1, -1, -1))) if descending else rows


def together(reader: LakeReader, each: pa.Table, times: pa.Table) -> pa.Table:
    """The candles across exchanges from those of each, and when their trades were by id."""
    made = reader.arrow(_TOGETHER, {"each": each, "times": times}, {}, None)
    return made.select(CANDLE.columns).cast(CANDLE.schema)


def times_of(reader: LakeReader, part: Part, each: pa.Table) -> pa.Table:
    """When the first and last trades were of windows that several exchanges have."""
    ids = _asked_for(each)
    if not ids.num_rows:
        return TIMES.empty_table()
    trades = reader.table(TRADES.table)
    asked = replace(part.asked, dataset=TRADES, table=trades, at=None, after=None)
    files = plan(reader, asked)
    if files.rows > MOST_TRADES:
        raise TooLarge(
            f"consolidated: the first and last trades would be looked up among {files.rows:,} "
            f"trades; {MOST_TRADES:,} may be read for an answer. Ask for a shorter range (start, "
            "end or limit) or for fewer exchanges."
        )
    where, values = condition(asked)
    rows = f"(select * from {{rows}} where {where})"
    sql = _LOOKED_UP.replace("{rows}", rows) + f" on {_SAME}"
    found = reader.arrow(sql, {"rows": files, "ids": ids}, values, trades).cast(TIMES)
    return _each_once(pa.concat_tables([found, part.asked.newer.times]))


def _each_once(times: pa.Table) -> pa.Table:
    """Some of what came since may be in the table as well."""
    once = times.group_by(_IDS.names).aggregate([("timestamp", "min")])
    return once.rename_columns([*_IDS.names, "timestamp"]).cast(TIMES)


def _asked_for(each: pa.Table) -> pa.Table:
    counted = each.group_by("window_start").aggregate([([], "count_all")])
    several = counted.filter(pc.greater(counted["count_all"], pa.scalar(1)))["window_start"]
    rows = each.filter(pc.is_in(each["window_start"], several.combine_chunks()))
    named = [
        rows.select(["exchange", "symbol", name]).rename_columns(_IDS.names)
        for name in ("first_trade_id", "last_trade_id")
    ]
    return pa.concat_tables(named).cast(_IDS)
