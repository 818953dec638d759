from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from k2_assets.instruments import REST_ENDPOINT
from k2_cli.main import app
from k2_market.errors import UsageError
from tests.simulators import simulator


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["instruments", *arguments], catch_exceptions=False)


def test_instruments_are_refreshed_and_found_by_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(UsageError, match="no instruments are known yet"):
        run("list")
    with simulator(("BTC-USD", "ADA-USD", "BTC-USD-PERP")) as endpoint:
        monkeypatch.setenv(REST_ENDPOINT, endpoint)
        asked = run("refresh", "--exchange", "kraken", "--exchange", "binance_coinm")
    assert asked.exit_code == 0
    assert asked.output.splitlines() == [
        "kraken: 2 current, 2 opened, 0 closed, 0 unreadable",
        "binance_coinm: 1 current, 1 opened, 0 closed, 0 unreadable",
    ]
    assert "XXBTZUSD" in run("list").output
    found = run("list", "--symbol", "xxbtzusd").output
    assert "BTC-USD" in found
    assert "ADA-USD" not in found
    assert "100 USD" in run("list", "--exchange", "binance_coinm").output


def test_an_exchange_that_does_not_answer_is_told_and_the_others_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2_HOME", str(tmp_path))
    with simulator(("BTC-USD",)) as endpoint:
        monkeypatch.setenv(REST_ENDPOINT, endpoint)
        asked = run("refresh", "--exchange", "binance_coinm", "--exchange", "coinbase")
    assert asked.exit_code == 1
    assert "binance_coinm listed no instrument that can be read" in asked.output
    assert "coinbase: 1 current, 1 opened" in asked.output
