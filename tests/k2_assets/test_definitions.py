"""What Dagster is told of every table, and what loading the graph costs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import dagster as dg
import pytest

from k2_assets.days import DAYS, day_of
from k2_assets.definitions import ASSETS, definitions
from k2_assets.instruments import LISTED
from k2_assets.jobs import JOBS_OF
from k2_assets.tables import OWNERS, asset_key
from k2_lake.quality.freshness import SLO_S
from k2_lake.tables import MAINTENANCE_TABLE, TABLES
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.rules import EARLIEST_DAY
from k2_sensors.definitions import defs


def spec(name: str) -> dg.AssetSpec:
    [found] = [s for a in ASSETS for s in a.specs if s.key == asset_key(name)]
    return found


def definition(name: str) -> dg.AssetsDefinition:
    [found] = [a for a in ASSETS if asset_key(name) in a.keys]
    return found


def test_there_is_an_asset_for_every_table_and_besides_only_upkeep() -> None:
    specs = {".".join(s.key.path): s for a in ASSETS for s in a.specs}
    assert specs.keys() >= set(TABLES)
    upkeep = [spec for name, spec in specs.items() if name not in TABLES]
    assert {spec.group_name for spec in upkeep} == {"maintenance"}


@pytest.mark.parametrize("name", TABLES)
def test_an_asset_tells_all_that_is_known_of_its_table(name: str) -> None:
    table, asset = TABLES[name], spec(name)
    asked = dict.fromkeys(("gold.instruments", "gold.reconciliation"), "reference")
    groups = {**asked, MAINTENANCE_TABLE: "maintenance"}
    assert asset.group_name == groups.get(name, table.namespace)
    assert {"iceberg", "duckdb"} <= asset.kinds
    assert list(asset.owners) == OWNERS
    assert asset.description is not None
    assert asset.description.startswith(table.doc)
    assert table.record.doc in asset.description
    assert asset.metadata["dagster/table_name"] == name
    columns: Any = asset.metadata["dagster/column_schema"]
    columns = getattr(columns, "schema", columns)
    assert [(c.name, c.type, c.constraints.nullable) for c in columns.columns] == [
        (f.name, str(f.type), f.nullable) for f in table.schema
    ]
    assert all(c.description for c in columns.columns)
    partitions = {"gold.instruments": LISTED, MAINTENANCE_TABLE: None}
    assert definition(name).partitions_def == partitions.get(name, DAYS)
    assert definition(name).op.pool == name


def test_the_graph_goes_from_bronze_to_days() -> None:
    deps = {n: {".".join(d.asset_key.path) for d in spec(n).deps} for n in TABLES}
    silver = {kind: {f"silver.{e}_{kind}" for e in EXCHANGES} for kind in Kind}
    assert deps == {
        **{f"bronze.{e}_{kind}": set() for kind in Kind for e in EXCHANGES},
        **{f"silver.{e}_{k}": {f"bronze.{e}_{k}"} for k in Kind for e in EXCHANGES},
        "silver.rejected": set().union(*silver.values()),
        **{f"gold.{kind}": silver[kind] for kind in Kind},
        "gold.gaps": {"gold.trades"},
        "gold.ohlcv_1m": {"gold.trades"},
        "gold.ohlcv_5m": {"gold.ohlcv_1m"},
        "gold.ohlcv_30m": {"gold.ohlcv_5m"},
        "gold.ohlcv_1h": {"gold.ohlcv_30m"},
        "gold.ohlcv_1d": {"gold.ohlcv_1h"},
        "gold.instruments": set(),
        "gold.day_condition": {
            *("gold.trades", "gold.quotes", "gold.gaps", "silver.rejected"),
            "gold.ohlcv_1d",
        },
        "gold.reconciliation": {"gold.ohlcv_1m"},
        MAINTENANCE_TABLE: {"ops.compaction", "ops.expiry", "ops.gc"},
    }


# They tell of the market's side as well, which no run of ours can mend.
WARNINGS = {
    ("gold.gaps", "nothing_missing"),
    ("gold.day_condition", "nothing_lacking"),
    ("gold.reconciliation", "all_windows_match"),
    *((table, "fresh") for table in SLO_S),
}


def test_every_check_but_the_warnings_blocks_and_is_of_a_day_where_its_table_has_days() -> None:
    every = [s for c in definitions().asset_checks or [] for s in c.check_specs]  # type: ignore[union-attr]
    warnings = [c for c in every if not c.blocking]
    assert {(".".join(c.asset_key.path), c.name) for c in warnings} == WARNINGS
    checks = [c for c in every if c not in warnings]
    unchecked = {"silver.rejected", "gold.gaps", "gold.reconciliation"}
    assert {".".join(c.asset_key.path) for c in checks} == set(TABLES) - unchecked
    assert all(c.blocking and c.description for c in checks)
    without_days = {".".join(c.asset_key.path) for c in checks if c.partitions_def != DAYS}
    assert without_days == {"gold.instruments", MAINTENANCE_TABLE}
    # Of maintenance and of conditions there is one blocking check each, of all others two.
    assert len(checks) == 2 * (len(TABLES) - len(unchecked)) - 2


def test_days_are_utc_and_end_with_today() -> None:
    assert DAYS.timezone == "UTC"
    keys = DAYS.get_partition_keys(current_time=None)
    assert day_of(keys[0]) == EARLIEST_DAY
    assert (
        day_of(keys[-1])
        == dg.DailyPartitionsDefinition(start_date="2026-01-01", timezone="UTC", end_offset=1)
        .get_last_partition_window()
        .start.date()
    )  # type: ignore[union-attr]


def test_jobs_and_sensors_are_there_by_name() -> None:
    assert {j.name for j in defs.jobs or []} == {
        *("tick", "ingest", "trade_day"),
        *("tick_quotes", "ingest_quotes", "quote_day"),
        "landing",
        "instruments",
        "repair",
        "day_condition",
        "reconciliation",
        *("upkeep", "gc", "retention", "history"),
    }
    assert {s.name for s in defs.schedules or []} == {
        "reconciliation",
        *("upkeep", "gc", "retention", "history"),
    }
    assert {s.name for s in defs.sensors or []} == {
        *("kafka_lag", "touched_days"),
        *("kafka_lag_quotes", "touched_days_quotes"),
        "freshness",
        "landing",
        "instruments",
        "repair",
        "day_condition",
    }


def tables_of(job: str) -> set[str]:
    keys = defs.resolve_job_def(job).asset_layer.executable_asset_keys
    return {".".join(key.path) for key in keys}


def test_a_tick_of_trades_and_one_of_quotes_share_no_table_but_that_of_the_rejected() -> None:
    trades, quotes = tables_of("tick"), tables_of("tick_quotes")
    assert trades & quotes == {"silver.rejected"}
    of_their_own = {
        *("gold.instruments", "gold.day_condition", "gold.reconciliation"),
        MAINTENANCE_TABLE,
    }
    assert trades | quotes == set(TABLES) - of_their_own
    for kind, tick in (("trades", trades), ("quotes", quotes)):
        names = JOBS_OF[Kind(kind)]
        assert tables_of(names.ingest) | tables_of(names.day) == tick
        assert {name.partition(".")[0] for name in tables_of(names.day)} == {"gold"}


def test_a_fresh_process_loads_them_without_a_warning_and_opens_nothing(tmp_path: Any) -> None:
    """As ``workspace.yaml`` does, every warning an error, in an empty folder that stays empty."""
    # Of pandas and pyspark.pandas, no dependencies of K2, pandera makes use wherever they are.
    script = (
        "import sys\n"
        "from k2_sensors.definitions import defs\n"
        "import dagster as dg\n"
        "dg.Definitions.validate_loadable(defs)\n"
        "print(sorted({'k2_lake.spark', 'fastapi'} & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []
