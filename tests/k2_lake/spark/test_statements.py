"""Every statement of ``k2_lake/sql`` gives on Spark what it gives on DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from importlib.resources import files

import pyarrow as pa
import pytest

from k2_lake.candles import candle_sql
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.engine import statement
from k2_lake.letters import Wanted
from k2_lake.parsed import Parsed
from k2_lake.spark.engine import SparkEngine
from k2_lake.spark.settings import SparkSettings
from k2_lake.tables import TABLES
from k2_lake.travel import diff
from k2_market.records import AGGREGATED, RAW_FRAME, REJECTED, TRADE
from k2_market.timeframes import timeframe
from tests.frames import DAY0, Print, bronze_rows, prints_table
from tests.lakes import open_lake, parser

pytestmark = pytest.mark.spark
DAY = DAY0.date()
ORDER = "symbol, timestamp, source_sequence, trade_id"
GAP_ROWS = statement("gap_rows")

# Repeats received earlier and later, ids that are missing, a row that is refused.
PRINTS = [
    *(Print(i, i * 7_000, f"{i}.5", "0.3", buyer_is_maker=i % 2 == 0) for i in range(10, 30)),
    *(Print(i, i * 7_000, f"{i}.5", "0.3", received_ms=i * 7_000 + 900) for i in (11, 14, 15)),
    *(Print(i, i * 9_000, "3", "0.1", symbol="ETHUSDT") for i in (2, 3, 7)),
    Print(40, 280_000, "0", "1"),
]


@cache
def frames() -> pa.Table:
    """What bronze would hold of them, as if they had come live."""
    place, of = RAW_FRAME.columns.index("origin"), RAW_FRAME.schema.field("origin")
    made = bronze_rows(prints_table(PRINTS))
    return made.set_column(place, of, pa.array(["live"] * made.num_rows))


@cache
def parsed() -> Parsed:
    return parser()(frames())


@cache
def trades() -> pa.Table:
    """What silver would hold of them, repeats and all."""
    return parsed().rows


def aggregated(first: int, last: int) -> pa.Table:
    """A trade that stands for the ids from ``first`` to ``last``."""
    row = trades().slice(0, 1).to_pylist()[0]
    told = {"trade_id": f"{AGGREGATED}{last}", "source_sequence": last}
    return pa.Table.from_pylist(
        [row | told | {"trade_count": last - first + 1}], schema=TRADE.schema
    )


def both_kinds() -> pa.Table:
    """Raw trades, and aggregated ones for some of them and for others."""
    some = aggregated(12, 15), aggregated(28, 33), aggregated(50, 51)
    return pa.concat_tables([trades().slice(0, 20), *some])


def on_duckdb(sql: str, **inputs: pa.Table) -> pa.Table:
    return DuckDBEngine().query(sql, inputs)


def gap_rows() -> pa.Table:
    return on_duckdb(GAP_ROWS, trades=trades())


@dataclass(frozen=True)
class Case:
    """A statement with what it stands between, its inputs and placeholders."""

    name: str
    inputs: Mapping[str, pa.Table]
    given: Mapping[str, object] = field(default_factory=dict)
    sql: str = ""

    @property
    def text(self) -> str:
        return self.sql or statement(self.name).format(**self.given)


def columns(of: str, names: list[str] | tuple[str, ...] = TRADE.columns) -> str:
    return ", ".join(f"{of}.{name}" for name in names)


def edges() -> pa.Table:
    return pa.table(
        {
            "exchange": ["binance"] * 2,
            "symbol": ["BTC-USDT", "ETH-USDT"],
            "lo": [20, 3],
            "hi": [20, 3],
        }
    )


def windows() -> pa.Table:
    return pa.table(
        {
            "exchange": ["binance"],
            "symbol": ["BTC-USDT"],
            "earliest": pa.array([DAY0 + timedelta(seconds=90)], pa.timestamp("us", "UTC")),
            "latest": pa.array([DAY0 + timedelta(seconds=150)], pa.timestamp("us", "UTC")),
        }
    )


def touched() -> pa.Table:
    sql = statement("touched_windows").format(us=60_000_000)
    return on_duckdb(sql, added=trades().slice(18))


def holes() -> pa.Table:
    """The holes as `gap_frames` takes them, each with when its neighbours may have been heard."""
    names = [f"{s}_{c}" for s in ("before", "after") for c in ("epoch", "partition", "offset")]
    found = on_duckdb(statement("gap_holes"), rows=gap_rows()).select(names)
    n, around = found.num_rows, timedelta(minutes=5)
    for i, (name, at) in enumerate((("earliest", DAY0 - around), ("latest", DAY0 + around))):
        found = found.add_column(i, name, pa.array([at] * n, pa.timestamp("us", "UTC")))
    return found.add_column(0, "number", pa.array(range(n), pa.int64()))


def within() -> pa.Table:
    sql = statement("raws_within").format(aggregated=AGGREGATED)
    return on_duckdb(sql, trades=both_kinds())


def cases() -> Iterator[Case]:
    of_id = {"id": "trade_id"}
    day = {"day": DAY}
    arrived = {"day": frames()["ingest_date"][0].as_py()}
    yield Case("day_connections", {"frames": frames()}, arrived)
    rejected = {"exchange": "binance", "kind": "trades", "day": parsed().rejected["ingest_date"][0]}
    yield Case("day_rejected", {"rejected": parsed().rejected, "frames": frames()}, rejected)
    yield Case("day_rows", {"gold": trades()}, {"day_column": "trade_date", **day})
    yield Case("dedupe", {"incoming": trades()}, {"columns": columns("ranked"), **of_id})
    for name, column in (("gold.trades", "trade_date"), ("silver.rejected", "")):
        rows = trades() if column else parsed().rejected
        changed = {
            "old": rows.slice(0, 15),
            "new": pa.concat_tables([rows.slice(9), rows.slice(9, 1)]),
        }
        start = diff._differing(TABLES[name], column)
        named = f"cast({column or 'null'} as date)"
        yield Case("diff_days", changed, sql=f"{start} {statement('diff_days').format(day=named)}")
        yield Case("diff_rows", changed, sql=f"{start} {statement('diff_rows')}")
    other = (
        frames()
        .slice(2)
        .set_column(
            RAW_FRAME.columns.index("sequence"),
            "sequence",
            pa.array([*range(2, 26), 99], pa.int64()),
        )
    )
    yield Case("frames_compared", {"came": frames(), "held": other}, {"epoch": 1})
    yield Case("gap_extents", {"trades": trades()}, {"rows": GAP_ROWS})
    heard = {"frames": frames(), "rejected": parsed().rejected, "holes": holes()}
    yield Case("gap_frames", heard, {"exchange": "binance"})
    yield Case("gap_holes", {"rows": gap_rows()})
    down = {"beyond": "r.last_id < e.lo", "order": "r.last_id desc, r.first_id desc"}
    up = {"beyond": "r.first_id > e.hi", "order": "r.first_id, r.last_id"}
    for way in (down, up):
        yield Case("gap_nearest", {"trades": trades(), "edges": edges()}, {"rows": GAP_ROWS, **way})
    yield Case("gap_rows", {"trades": both_kinds()})
    yield Case("gap_within", {"trades": trades(), "windows": windows()}, {"rows": GAP_ROWS})
    window = windows().rename_columns(["exchange", "symbol", "first", "until"])
    yield Case("in_window", {"source": trades(), "window_": window})
    for wanted in (Wanted(), Wanted(exchange="binance", kafka_offset=26, text="PRICE")):
        named = {"columns": columns("r", REJECTED.columns)}
        yield Case("letters", {"rejected": parsed().rejected, "wanted": wanted.row()}, named)
    both = {"incoming": trades().slice(12), "existing": trades().slice(0, 20)}
    yield Case("new_rows", both, {"columns": columns("i"), **of_id})
    places = frames().slice(3, 5).select(["epoch", "kafka_partition", "kafka_offset"])
    for negation in ("", "not"):
        of_frames = {"columns": columns("s"), "negation": negation, "order": "s.kafka_offset"}
        yield Case("of_frames", {"source": trades(), "places": places}, of_frames)
    yield Case("ohlcv_1m", {"trades": trades().slice(0, 20)}, sql=candle_sql(timeframe("1m")))
    candles = on_duckdb(candle_sql(timeframe("1m")), trades=trades())
    yield Case("ohlcv_rollup", {"candles": candles}, sql=candle_sql(timeframe("5m")))
    yield Case("raws_within", {"trades": both_kinds()}, {"aggregated": AGGREGATED})
    yield Case("shared_sequences", both)
    yield Case("touched_windows", {"added": trades()}, {"us": 60_000_000})
    silver = {"silver": trades(), "trades": trades().slice(4, 3)}
    yield Case("trace_silver", silver, {"columns": columns("s")})
    bounds = {"start": DAY0.isoformat(), "end": (DAY0 + timedelta(minutes=3)).isoformat()}
    at = {"at": "timestamp", "us": 60_000_000, **bounds}
    yield Case("within_windows", {"rows": trades(), "touched": touched()}, at)
    overlapping = {"trades": both_kinds(), "within": within()}
    yield Case("without_overlaps", overlapping, {"columns": columns("t")})
    some = {"existing": trades(), "replaced": trades().slice(2, 4)}
    yield Case("without_rows", some, {"columns": columns("e"), **of_id})


# What stands inside others: candles end with the tail, and both figures of a diff follow `diff`.
PARTS = {"diff", "ohlcv_tail"}


NAMES = sorted(
    name.removesuffix(".sql")
    for name in (file.name for file in files("k2_lake.sql").iterdir())
    if name.endswith(".sql") and name.removesuffix(".sql") not in PARTS
)


@pytest.fixture(scope="module")
def all_cases() -> list[Case]:
    return list(cases())


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, spark_settings: SparkSettings) -> SparkEngine:
    return SparkEngine(spark_settings, open_lake(tmp_path_factory.mktemp("home")))


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_gives_the_same_rows_on_both_engines(
    name: str, all_cases: list[Case], engine: SparkEngine
) -> None:
    mine = [case for case in all_cases if case.name == name]
    assert mine
    for case in mine:
        expected = in_order(case, DuckDBEngine().query(case.text, case.inputs))
        assert in_order(case, engine.query(case.text, case.inputs)) == expected
        assert expected


def in_order(case: Case, rows: pa.Table) -> list[str]:
    """The rows as the statement orders them, else in any one order."""
    told = [repr(row) for row in rows.to_pylist()]
    return told if "order by" in case.text.rpartition(")")[2] else sorted(told)
