"""Withheld trades come back over REST, and the candles are those of an unbroken recording."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from k2_assets.ingest import drain
from k2_assets.resources import BROKER_FOLDER
from k2_cli.home import locked_home
from k2_cli.main import app
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.simulator.exchange import SimulatedExchange, Simulator
from k2_lake.quality.gap_ledger import Gap
from k2_lake.quality.gaps import recorded_gaps
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.errors import HomeInUse
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES
from tests.lakes import LakeDriver, open_lake
from tests.simulations import as_received, record, simulator

WITHHELD = 500
SYMBOLS = {
    "binance": "BTC-USDT",
    "binance_usdm": "ETH-USDT",
    "binance_coinm": "BTC-USD-PERP",
    "kraken": "BTC-USD",
    "coinbase": "ETH-USD",
}


def _recorded(served: Simulator, exchange: str, symbol: str) -> list[tuple[bytes, int]]:
    """Frames of one connection, of which the simulator keeps back 500 trades in the middle."""

    simulated = served.exchanges[exchange]

    def until(payloads: list[bytes]) -> bool:
        if len(payloads) == 100:
            simulated.disturbances.set("withhold", f"{symbol}:{WITHHELD}")
        ranges = simulated.sent[symbol].ranges
        after = b"%d" % (ranges[1][0] + 50) if len(ranges) > 1 else b"none yet"
        return bool(payloads) and after in payloads[-1]

    return record(served.endpoint, exchange, symbol, until)


def _unbroken(exchange: SimulatedExchange, symbol: str, first: int, last: int) -> list[bytes]:
    path = exchange.dialect.paths[0]
    fills = [f for f in list(exchange.history[symbol]) if first <= f.trade_id <= last]
    return [f.encode() for f in exchange.dialect.trades(path, symbol, [fills])]


def _candles(driver: LakeDriver) -> dict[str, list[dict[str, Any]]]:
    return {name: driver.rows(candle_name(name)) for name in TIMEFRAMES}


def _gaps(driver: LakeDriver) -> list[Gap]:
    return recorded_gaps(driver.lake, driver.engine)


def _totals(driver: LakeDriver) -> dict[str, tuple[int, int, int]]:
    """By exchange: raw trades, and the first and the last id of their orders."""
    found: dict[str, tuple[int, int, int]] = {}
    for row in driver.rows(TRADES_TABLE):
        count, first, last = found.get(row["exchange"], (0, 2**62, 0))
        sequence: Any = row["source_sequence"]
        found[row["exchange"]] = (
            count + row["trade_count"],
            min(first, sequence),
            max(last, sequence),
        )
    return found


@pytest.mark.timeout(300)
def test_500_withheld_trades_of_each_exchange_come_back_and_candles_equal_the_unbroken_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, whole = LakeDriver(tmp_path / "broken"), LakeDriver(tmp_path / "whole")
    with simulator(tuple(SYMBOLS.values()), rate=500) as served:
        for exchange, symbol in SYMBOLS.items():
            frames = _recorded(served, exchange, symbol)
            broken.receive_frames(as_received(frames, exchange), exchange)
        served.rate = 0
        broken.tick(list(SYMBOLS))
        for exchange, (_, first, last) in _totals(broken).items():
            payloads = _unbroken(served.exchanges[exchange], SYMBOLS[exchange], first, last)
            whole.receive_frames(
                as_received([(p, 1_800_000_000_000_000) for p in payloads], exchange), exchange
            )
        whole.tick(list(SYMBOLS))
        assert [(g.exchange, g.missing, g.cause, g.state) for g in _gaps(broken)] == [
            (exchange, WITHHELD, "exchange", "open") for exchange in sorted(SYMBOLS)
        ]
        assert _gaps(whole) == []
        assert _candles(broken) != _candles(whole)

        served.exchanges["kraken"].disturbances.set("refuse", "1")
        monkeypatch.setenv("K2_REST_ENDPOINT", served.endpoint)
        monkeypatch.setenv("K2_BINANCE_API_KEY", "any")
        home = ["--home", str(tmp_path / "broken")]
        shown = CliRunner().invoke(app, ["repair", *home, "--dry-run"])
        assert (shown.exit_code, "2,500" in shown.output) == (0, True)
        assert len([g for g in _gaps(broken) if g.state == "open"]) == len(SYMBOLS)
        result = CliRunner().invoke(app, ["repair", *home], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        once = broken.rows(TRADES_TABLE)
        assert _candles(broken) == _candles(whole)
        assert {g.state for g in _gaps(broken)} == {"repaired"}
        assert {g.missing for g in _gaps(broken)} == {WITHHELD}
        assert all(g.repaired_at for g in _gaps(broken))

        # Nothing is open any more, so a second repair has nothing to ask for.
        again = CliRunner().invoke(app, ["repair", *home], catch_exceptions=False)
        assert (again.exit_code, broken.rows(TRADES_TABLE)) == (0, once)
    origins = {
        origin
        for exchange in SYMBOLS
        for row in broken.rows(f"bronze.{exchange}_trades")
        if (origin := row["origin"]) != "live"
    }
    assert origins == {"archive"}


@contextmanager
def _drained(driver: LakeDriver, kafka: KafkaSettings, exchanges: Sequence[str]) -> Iterator[None]:
    """What a platform's sensors do meanwhile: bronze follows Kafka."""
    stop = threading.Event()

    def follow() -> None:
        lake = open_lake(driver.lake.settings.home)
        while not stop.wait(0.2):
            for exchange in exchanges:
                drain(lake, kafka, exchange, Kind.TRADES)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.timeout(300)
def test_beside_a_running_platform_trades_are_left_to_it_and_what_is_gone_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, exchanges = LakeDriver(tmp_path), ("binance", "kraken")
    command = ["repair", "--home", str(tmp_path)]
    with simulator([SYMBOLS[e] for e in exchanges], rate=500) as served:
        for exchange in exchanges:
            frames = _recorded(served, exchange, SYMBOLS[exchange])
            driver.receive_frames(as_received(frames, exchange), exchange)
        served.rate = 0
        driver.tick(exchanges)
        [found, lost] = _gaps(driver)
        kept = served.exchanges["kraken"].history[SYMBOLS["kraken"]]
        served.exchanges["kraken"].history[SYMBOLS["kraken"]] = deque(
            f for f in kept if not lost.first_missing_id <= f.trade_id <= lost.last_missing_id
        )
        monkeypatch.setenv("K2_REST_ENDPOINT", served.endpoint)
        with locked_home(tmp_path):
            nobody = CliRunner().invoke(app, command)
            assert isinstance(nobody.exception, HomeInUse)
            with (
                start_broker(tmp_path / BROKER_FOLDER) as broker,
                _drained(driver, broker.settings, exchanges),
            ):
                result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    driver.tick(exchanges)
    assert [(g.exchange, g.state, g.missing) for g in _gaps(driver)] == [
        ("binance", "repaired", WITHHELD),
        ("kraken", "unrepairable", WITHHELD),
    ]
    assert _gaps(driver)[1].reason == "kraken: its history has no trades with these ids"
    assert found.repaired_at is None
    again = CliRunner().invoke(app, [*command, "--dry-run", "--again"])
    assert "kraken BTC-USD" in again.output
