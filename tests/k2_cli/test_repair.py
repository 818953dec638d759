"""Withheld trades come back over REST, and the candles are those of an unbroken recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from k2_cli.main import app
from k2_feeds.simulated import SimulatedExchange, Simulator
from k2_lake.gap_ledger import Gap
from k2_lake.gaps import recorded_gaps
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.timeframes import TIMEFRAMES
from tests.lakes import LakeDriver
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
