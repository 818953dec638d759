"""The whole demo in a browser: the graph, its checks, backfills of two days from the page.

The tests share one demo, started over a home that already holds two replayed trade days; the last
one stops it.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import Browser, Page, expect
from pyiceberg.expressions import EqualTo

from k2_assets.definitions import ASSETS
from k2_cli.home import locked_home
from k2_lake.locations import local_path
from k2_lake.scan import planned
from k2_lake.tables import TABLES
from k2_market.records import CANDLE
from k2_market.timeframes import TIMEFRAMES
from k2_sensors.definitions import SCHEDULES
from tests.frames import Print
from tests.lakes import open_lake
from tests.services import wait_until
from tests.ui import dagster_page as ui
from tests.ui.demo_process import (
    TRADE_DAYS,
    RunningDemo,
    processes_of,
    query,
    replay,
    running_demo,
    write_two_days,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

CANDLE_TABLES = [f"gold.ohlcv_{name}" for name in TIMEFRAMES]
GOLD = ["gold.trades", *CANDLE_TABLES]
GOLD_GROUP = [*GOLD, "gold.quotes", "gold.gaps", "gold.day_condition"]
RUNNING = (
    *("kafka_lag", "kafka_lag_quotes", "touched_days", "touched_days_quotes"),
    *("freshness", "landing", "instruments", "day_condition"),
)
SCHEDULED = [s.name for s in SCHEDULES if s.default_status is dg.DefaultScheduleStatus.RUNNING]
MINUTE_MS = 60_000
ALL_SUCCEEDED = ["2", "0", "2", "0"]  # targeted, in progress, succeeded, failed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ui") / "home"


@pytest.fixture(scope="module")
def prints(home: Path) -> list[Print]:
    return write_two_days(home.with_name("frames.txt"))


@pytest.fixture(scope="module")
def summary(home: Path, prints: list[Print]) -> dict[str, str]:
    return replay(home, home.with_name("frames.txt"))


@pytest.fixture(scope="module")
def rows(home: Path, summary: dict[str, str]) -> dict[str, str]:
    """The replayed rows of every gold table before any backfill."""
    return gold_rows(home)


@pytest.fixture(scope="module")
def demo(home: Path, rows: dict[str, str]) -> Iterator[RunningDemo]:
    with running_demo(home) as running:
        yield running


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    with ui.chromium(chromium_path) as launched:
        yield launched


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with ui.fresh_page(browser) as opened:
        yield opened


def gold_rows(home: Path) -> dict[str, str]:
    days = ", ".join(f"date '{day}'" for day in TRADE_DAYS)
    return {
        table: query(
            home, f"select * from {table} where {TABLES[table].record.day} in ({days}) order by all"
        )
        for table in GOLD
    }


def windows(prints: list[Print], minutes: int) -> int:
    return len({(p.symbol, p.time_ms // (minutes * MINUTE_MS)) for p in prints})


def test_a_replay_of_two_trade_days_prints_what_it_did(
    summary: dict[str, str], prints: list[Print]
) -> None:
    minutes = {"1m": 1, "5m": 5, "30m": 30, "1h": 60, "1d": 1440}
    assert float(summary.pop("seconds")) > 0
    assert int(summary.pop("checks passed")) > 2 * len(GOLD)
    assert summary == {
        "frames": "320",
        "frames: trades": "320",
        "trades": "320",
        "rejected": "0",
        "duplicates": "0",
        "added to gold": "320",
        **{f"candles {name}": str(windows(prints, minutes[name])) for name in TIMEFRAMES},
        "trade days": "2",
        "checks failed": "0",
    }


def test_the_demo_shows_a_candle_of_this_hour_for_every_simulated_exchange_it_has(
    demo: RunningDemo,
) -> None:
    told = demo.output.read_text()
    assert f"Dagster   {demo.dagster}" in told
    assert f"REST      {demo.api}/docs" in told
    times = set(re.findall(r"USDT? +(\d\d:\d\d) ", told))
    now = datetime.now(UTC)
    assert times
    assert times <= {f"{now - timedelta(minutes=ago):%H:%M}" for ago in range(60)}


def test_the_lineage_shows_every_table_from_bronze_to_a_day_and_its_upkeep(
    page: Page, demo: RunningDemo
) -> None:
    # Tall, because what lies outside of the window is not drawn, nor names in a small graph.
    page.set_viewport_size({"width": 2600, "height": 3600})
    ui.open_lineage(page, demo.dagster)
    ui.expand_groups(page)
    names = sorted(spec.key.path[-1] for asset in ASSETS for spec in asset.specs)
    expect(page.locator(ui.ASSET)).to_have_count(len(names))
    for shown in ui.shown_assets(page):
        # Long names are shown with their middle left out.
        of_node = re.compile(re.escape(shown).replace("…", ".*"))
        names.remove(next(name for name in names if of_node.fullmatch(name)))
    assert names == []


def test_an_asset_page_tells_what_the_table_is_and_how_it_is_checked(
    page: Page, demo: RunningDemo
) -> None:
    page.goto(f"{demo.dagster}/assets/gold/ohlcv_1m")
    expect(page.get_by_text("Open, high, low, close and sums").first).to_be_visible()
    expect(page.get_by_text("taker_buy_quote_volume").first).to_be_visible()
    expect(page.get_by_text("market-data").first).to_be_visible()
    expect(page.get_by_text("Iceberg", exact=True).first).to_be_visible()
    page.get_by_role("tab", name="Checks").click()
    expect(page.get_by_text("Checks (3)")).to_be_visible()
    page.get_by_text("rules", exact=True).first.click()
    expect(page.get_by_text("low <= open, close, vwap <= high").first).to_be_visible()
    expect(page.get_by_text("This is a blocking asset check").first).to_be_visible()


def test_all_sensors_run(page: Page, demo: RunningDemo) -> None:
    page.goto(f"{demo.dagster}/automation")
    for name in (*RUNNING, "repair"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    expect(page.locator("[class*=formatSwitch] input:checked")).to_have_count(
        len(RUNNING) + len(SCHEDULED)
    )
    sensors = ui.ask(
        demo.dagster,
        """{ sensorsOrError(repositorySelector: {repositoryName: "__repository__",
             repositoryLocationName: "k2"}) {
             ... on Sensors { results { name sensorState { status } } } } }""",
    )
    states = {s["name"]: s["sensorState"]["status"] for s in sensors["sensorsOrError"]["results"]}
    assert states == dict.fromkeys(RUNNING, "RUNNING") | {"repair": "STOPPED"}


def test_a_backfill_of_two_days_from_the_asset_page_gives_the_same_rows(
    page: Page, demo: RunningDemo, rows: dict[str, str]
) -> None:
    page.goto(f"{demo.dagster}/assets/gold/trades")
    page.get_by_role("button", name="Materialize").first.click()
    backfill_id = ui.backfill(page, *TRADE_DAYS)
    assert ui.completed(page) == {"gold.trades": ALL_SUCCEEDED}
    runs = ui.runs_of(demo.dagster, backfill_id)
    assert sorted(runs.values()) == list(TRADE_DAYS)
    figures = ui.metadata_of(demo.dagster, "gold.trades", runs)
    assert sorted(figures) == list(TRADE_DAYS)
    for of_day in figures.values():
        assert of_day["rows"] == of_day["dagster/partition_row_count"] == 160
        assert (of_day["recomputed"], of_day["duplicates"]) == (1, 0)
        assert int(of_day["snapshot_id"]) > 0
    assert gold_rows(demo.home) == rows


def test_a_backfill_of_all_gold_tables_from_the_lineage_gives_the_same_rows_and_passes_all_checks(
    page: Page, demo: RunningDemo, rows: dict[str, str]
) -> None:
    ui.open_lineage(page, demo.dagster)
    ui.group(page, "gold").click(button="right")
    page.get_by_text(f"Materialize assets ({len(GOLD_GROUP)})").click()
    backfill_id = ui.backfill(page, *TRADE_DAYS)
    assert ui.completed(page) == dict.fromkeys(GOLD_GROUP, ALL_SUCCEEDED)
    runs = ui.runs_of(demo.dagster, backfill_id)
    for table in GOLD:
        assert sorted(ui.metadata_of(demo.dagster, table, runs)) == list(TRADE_DAYS)
        for check in ("rules", "reconciled"):
            passed = dict.fromkeys(TRADE_DAYS, "SUCCEEDED")
            assert ui.check_results(demo.dagster, table, check, runs) == passed, (table, check)
    assert gold_rows(demo.home) == rows


def test_a_day_that_fails_in_a_backfill_fails_alone(
    demo: RunningDemo, rows: dict[str, str]
) -> None:
    table, source = "gold.ohlcv_1d", open_lake(demo.home).table("gold.ohlcv_1h")
    of_first = EqualTo("window_date", date.fromisoformat(TRADE_DAYS[0]))
    broken = Path(str(local_path(planned(source, CANDLE.schema, of_first).paths[0])))
    away = broken.rename(broken.with_suffix(".away"))
    days = [*TRADE_DAYS, "2024-08-10"]
    backfill_id = ui.launch(demo.dagster, table, days)
    wait_until(
        lambda: ui.outcome(demo.dagster, backfill_id)[0].startswith(("COMPLETED", "FAILED")),
        "the backfill",
        ui.BACKFILL_MS / 1000,
    )
    status, by_day = ui.outcome(demo.dagster, backfill_id)
    assert status == "COMPLETED_FAILED"
    assert by_day == dict(zip(days, ("FAILURE", "SUCCESS", "SUCCESS"), strict=True))
    away.rename(broken)
    assert gold_rows(demo.home) == rows


def test_the_api_of_the_demo_answers_with_the_simulators_candles(demo: RunningDemo) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    address = f"{demo.api}/v1/ohlcv/1m?symbol=BTC-USD&exchange=kraken&start={since:%Y-%m-%dT%H:%MZ}"
    asked = urllib.request.Request(address, headers={"X-API-Key": demo.key})
    with urllib.request.urlopen(asked, timeout=30) as response:
        candles = json.load(response)["data"]
    assert candles
    for candle in candles:
        assert (candle["exchange"], candle["symbol"]) == ("kraken", "BTC-USD")
        low, vwap, high = (Decimal(candle[name]) for name in ("low", "vwap", "high"))
        assert 50_000 < low <= vwap <= high < 80_000


@pytest.mark.chart
def test_the_page_of_the_demo_shows_candles_as_they_come(page: Page, demo: RunningDemo) -> None:
    told = demo.output.read_text()
    assert f"Candles   {demo.api}/#key={demo.key}\n" in told
    page.goto(f"{demo.api}/#key={demo.key}")
    figures = page.locator("#figures")
    expect(figures).to_contain_text(f"{datetime.now(UTC):%Y-%m-%d}", timeout=MINUTE_MS)
    before = figures.inner_text()
    expect(figures).not_to_have_text(before, use_inner_text=True, timeout=MINUTE_MS)
    expect(page.get_by_role("link", name="Dagster")).to_have_attribute("href", demo.dagster)
    layers = ["bronze", "silver", "gold", "candles", "tail"]
    expect(page.locator("#freshness dt")).to_have_text(layers, timeout=MINUTE_MS)


def test_ctrl_c_stops_every_process_and_frees_the_home(demo: RunningDemo) -> None:
    parts = ("broker", "simulator", "k2 feed", "k2 api", "webserver", "daemon", "api grpc")
    started = " ".join(processes_of(demo.home).values())
    assert [part for part in parts if part not in started] == []
    assert demo.interrupt() == 0
    assert processes_of(demo.home) == {}
    with locked_home(demo.home):
        pass
