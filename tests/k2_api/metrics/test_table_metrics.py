"""What Prometheus reads of the tables, parsed as Prometheus would."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from k2_lake.catalog import LakeSettings
from k2_lake.quality.freshness import SLO_S
from k2_lake.tables import TABLES
from k2_lake.travel.as_of import committed_at
from k2_market.metrics import METRICS
from tests.k2_api.conftest import FILLED
from tests.k2_api.lake_of_trades import Made, TradeLake, many
from tests.keyed import keyed

Samples = dict[str, dict[str, float]]


def scraped(client: TestClient) -> Samples:
    """By metric and table, the value; without a table under the empty name."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        family.name: {s.labels.get("table", ""): s.value for s in family.samples}
        for family in text_string_to_metric_families(answer.text)
    }


def test_every_metric_of_the_registry_is_told_with_its_help(client: TestClient) -> None:
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    told = {f.name: (f.type, f.documentation) for f in families}
    assert told == {m.name: (m.kind, m.help) for m in METRICS}
    labels = {f.name: {name for s in f.samples for name in s.labels} for f in families}
    assert labels == {m.name: set(m.labels) for m in METRICS}


def test_tables_have_rows_lag_and_limit(client: TestClient, filled: TradeLake) -> None:
    found = scraped(client)
    assert found["k2_tables_readable"] == {"": 1}
    assert set(found["k2_table_rows"]) == set(TABLES)
    assert found["k2_table_rows"]["gold.trades"] == len(FILLED)
    assert found["k2_table_slo_seconds"] == SLO_S
    assert found["k2_table_lag_seconds"]["gold.trades"] == 0
    assert "bronze.kraken_trades" not in found["k2_table_lag_seconds"]


def test_a_table_that_does_not_follow_is_late_by_the_age_of_what_waits(
    growing: TradeLake,
) -> None:
    growing.arrive("binance", [Made(1, 0)])
    head = growing.lake.table("silver.binance_trades").current_snapshot()
    assert head is not None
    before = datetime.now(UTC)
    with keyed(growing.settings) as client:
        lags = scraped(client)["k2_table_lag_seconds"]
    age = [(at - committed_at(head)).total_seconds() for at in (before, datetime.now(UTC))]
    assert age[0] - 0.1 <= lags["gold.trades"] == lags["gold.ohlcv_1d"] <= age[1] + 0.1
    assert lags["silver.binance_trades"] == 0


def test_without_a_lake_the_metrics_say_that_nothing_can_be_read(tmp_path: Path) -> None:
    with keyed(LakeSettings.from_environment({}, tmp_path / "none")) as client:
        assert scraped(client) == {"k2_tables_readable": {"": 0}}
        TradeLake(tmp_path / "none").add(many(3))
        assert scraped(client)["k2_tables_readable"] == {"": 1}
