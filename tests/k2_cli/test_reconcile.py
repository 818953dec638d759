"""``k2 reconcile`` against a simulator that publishes candles of its own trades."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from k2_cli.main import app
from k2_feeds.simulator.exchange import Simulator
from k2_feeds.simulator.synthetic import Fill, SyntheticSymbol
from k2_lake.tables import RECONCILIATION_TABLE
from k2_market.errors import UsageError
from k2_market.exchanges import EXCHANGES
from tests.frames import micros
from tests.graphs import failed, run_job
from tests.lakes import LakeDriver
from tests.simulations import as_received, simulator

# Long ago for windows to be closed, and lately enough for Kraken to keep them.
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTES = 12
SYMBOLS = {name: exchange.example for name, exchange in EXCHANGES.items()}


def _fills(symbol: str) -> list[Fill]:
    """What traded in twelve minutes, but nothing in the sixth."""
    start = micros(START)
    market = SyntheticSymbol(symbol, start, seed=7)
    orders = market.advance(start + MINUTES * 60_000_000, 2.0)
    fills = [fill for order in orders for fill in order]
    quiet = range(start + 5 * 60_000_000, start + 6 * 60_000_000)
    heard = [fill for fill in fills if fill.time_us not in quiet]
    first = heard[0].trade_id
    return [replace(fill, trade_id=first + n) for n, fill in enumerate(heard)]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LakeDriver, Simulator]]:
    """Every exchange's market of twelve minutes, recorded whole but for one trade of Kraken's."""
    driver = LakeDriver(tmp_path_factory.mktemp("home"))
    with simulator(sorted(set(SYMBOLS.values())), rate=0) as served:
        for exchange, symbol in SYMBOLS.items():
            simulated, fills = served.exchanges[exchange], _fills(symbol)
            simulated.history[symbol] = deque(fills)
            lost = fills[len(fills) // 2].trade_id if exchange == "kraken" else None
            orders = [[fill for fill in fills if fill.trade_id != lost]]
            path = simulated.dialect.paths[0]
            payloads = simulated.dialect.trades(path, symbol, orders)
            frames = [(p.encode(), micros(START) + 3_600_000_000) for p in payloads]
            driver.receive_frames(as_received(frames, exchange), exchange)
        driver.tick(list(SYMBOLS))
        yield driver, served


def _reconcile(home: Path, exchange: str, *more: str) -> Result:
    options = ["--home", str(home), "--exchange", exchange, "--symbol", SYMBOLS[exchange]]
    return CliRunner().invoke(app, ["reconcile", *options, *more])


def _between(minutes: int = MINUTES) -> list[str]:
    end = START + timedelta(minutes=minutes)
    return ["--from", f"{START:%Y-%m-%dT%H:%M}", "--to", f"{end:%Y-%m-%dT%H:%M}"]


def _kept(driver: LakeDriver, exchange: str) -> list[dict[str, Any]]:
    return [r for r in driver.rows(RECONCILIATION_TABLE) if r["exchange"] == exchange]


@pytest.mark.parametrize(
    ("exchange", "fields"),
    [("binance", 9), ("binance_usdm", 9), ("binance_coinm", 7), ("coinbase", 5), ("bitstamp", 5)],
)
def test_every_window_of_an_exchange_matches_on_all_that_it_publishes(
    lake: tuple[LakeDriver, Simulator],
    monkeypatch: pytest.MonkeyPatch,
    exchange: str,
    fields: int,
) -> None:
    driver, served = lake
    monkeypatch.setenv("K2_REST_ENDPOINT", served.endpoint)
    result = _reconcile(driver.lake.settings.home, exchange, *_between())
    assert result.exit_code == 0, result.output
    rows = _kept(driver, exchange)
    assert {r["outcome"] for r in rows} == {"matched"}
    quiet = START + timedelta(minutes=5)
    assert {len(r["fields"]) for r in rows if r["window_start"] != quiet} == {fields}
    # Coinbase publishes nothing where nothing traded, and neither do we: that is no window.
    assert len(rows) == MINUTES - (exchange == "coinbase")
    five = _reconcile(driver.lake.settings.home, exchange, *_between(10), "--timeframe", "5m")
    assert five.exit_code == 0, five.output
    assert [r["outcome"] for r in _kept(driver, exchange) if r["timeframe"] == "5m"] == [
        "matched",
        "matched",
    ]


def test_a_window_that_lacks_a_trade_is_partial_and_shown_with_both_figures(
    lake: tuple[LakeDriver, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, served = lake
    monkeypatch.setenv("K2_REST_ENDPOINT", served.endpoint)
    result = _reconcile(driver.lake.settings.home, "kraken", *_between())
    assert result.exit_code == 0, result.output
    rows = _kept(driver, "kraken")
    [partial] = [r for r in rows if r["outcome"] != "matched"]
    assert (partial["outcome"], len(rows)) == ("ours_partial", MINUTES)
    assert partial["reason"].startswith("1 trade is missing between 2026-03-01 12:0")
    assert {"volume", "trade_count"} <= set(partial["differing"])
    ours, theirs = dict(partial["ours"]), dict(partial["theirs"])
    assert int(theirs["trade_count"]) == int(ours["trade_count"]) + 1
    assert f"trade_count ours {ours['trade_count']}, theirs {theirs['trade_count']}" in (
        result.output
    )
    assert "vwap" in result.output


def test_the_asset_compares_every_symbol_of_the_day_and_its_check_passes(
    lake: tuple[LakeDriver, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, served = lake
    monkeypatch.setenv("K2_REST_ENDPOINT", served.endpoint)
    simulated = served.exchanges["coinbase"]
    simulated.disturbances.set("refuse", "1")
    result = run_job(driver.lake.settings.home, "reconciliation", START.date())
    assert result.success
    assert failed(result) == set()
    [event] = result.get_asset_materialization_events()
    told = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (told["symbols"], told["not_answered"]) == (len(SYMBOLS), {})
    assert (told["differs"], told["source_missing"], told["ours_partial"]) == (0, 0, 1)
    # Windows of every exchange: twelve each, the quiet one of Coinbase left out by both.
    assert told["windows"] == MINUTES * len(SYMBOLS) - 1


def test_what_cannot_be_asked_is_said(
    lake: tuple[LakeDriver, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, served = lake
    monkeypatch.setenv("K2_REST_ENDPOINT", served.endpoint)
    home = driver.lake.settings.home
    for more, message in (
        ([], "say from when to when"),
        (["--from", "2026-03-02", "--to", "2026-03-01"], "there is no window between"),
        (["--from", "2020-01-01", "--to", "2020-01-02"], "no window to compare"),
    ):
        refused = _reconcile(home, "binance", *more)
        assert isinstance(refused.exception, UsageError)
        assert message in str(refused.exception)
