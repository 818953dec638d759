"""``k2 query`` against the real API; what the API must be brought to say, from a scripted one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from k2_api.app import create_app
from k2_cli.main import app
from k2_client import K2, Forbidden, NoAnswer
from k2_market.errors import UsageError
from tests.api_server import serving
from tests.k2_api.conftest import FILLED
from tests.k2_api.lake_of_trades import TradeLake
from tests.k2_client.scripted import KEY, Said, problem, scripted
from tests.k2_client.test_live import Turn, hub, subscribed, trades
from tests.keyed import fast_key
from tests.needs import CHECKOUT


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and key of an API over a lake of two days."""
    lake = TradeLake(tmp_path_factory.mktemp("asked"))
    lake.add(FILLED)
    with serving(create_app(lake.settings)) as address:
        yield address, fast_key(lake.settings)


def k2(api: tuple[str, str], *arguments: str) -> Result:
    address, key = api
    result = CliRunner().invoke(app, ["query", *arguments, "--url", address, "--key", key])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_a_table_shows_the_newest_rows_and_the_columns_that_matter(api: tuple[str, str]) -> None:
    shown = k2(api, "trades", "--symbol", "BTCUSDT", "--limit", "2", "--format", "table").stdout
    lines = [line.split("│")[1:-1] for line in shown.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line] for line in lines] == [
        [
            *("binance", "BTC-USDT", "2024-08-09T00:00:00.000001Z", "sell"),
            *("0.00000001", "12345678901234567890.12345678", "5000"),
        ],
        [
            *("binance", "BTC-USDT", "2024-08-08T00:19:21.000000Z", "sell"),
            *("60060.25000000", "0.00000001", "60"),
        ],
    ]
    assert "┃ exchange" in shown
    assert shown.splitlines()[-1] == "2 rows"


def test_fields_order_and_range_are_what_was_asked_for(api: tuple[str, str]) -> None:
    asked = ("--symbol", "ETH-USDT", "--start", "2024-08-08", "--end", "2024-08-09")
    shown = k2(
        api,
        *("trades", *asked, "--fields", "trade_id,price", "--order", "asc"),
        *("--limit", "3", "--format", "table"),
    ).stdout
    cells = [line.split("│")[1].strip() for line in shown.splitlines() if line.startswith("│")]
    assert cells == ["1001", "1002", "1003"]


def test_symbols_and_candles_have_tables_too(api: tuple[str, str]) -> None:
    assert "2024-08-09" in k2(api, "symbols").stdout
    candles = k2(api, "ohlcv", "--timeframe", "1d", "--exchange", "binance", "--format", "table")
    assert "0.00000001" in candles.stdout
    assert "3 rows" in candles.stdout
    empty = k2(api, "gaps", "--format", "table").stdout
    assert "first_missing_id" in empty
    assert empty.splitlines()[-1] == "0 rows"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("trades", "--fill", "prev"), "--fill is not for trades"),
        (("rejected", "--symbol", "BTC-USDT"), "--symbol is not for rejected"),
        (("symbols", "--start", "2024-08-08"), "--start is not for symbols"),
        (("live", "--symbol", "BTC-USDT"), "--symbol and --exchange"),
        (("trades", "--start", "2024-08-08T00:00"), "start: .* has no zone"),
        (("trades", "--fields", "prize"), "unknown field 'prize'"),
        (("trades", "--exchange", "binanse", "--format", "table"), "unknown exchange 'binanse'"),
        (("trades", "--out", "trades.txt"), "'trades.txt' does not tell a format"),
        (("trades", "--format", "table", "--out", "a.csv"), "leave --out out"),
        (("trades", "--limit", "20000", "--format", "csv"), "20,000 is more than 10,000"),
    ],
)
def test_what_cannot_be_meant_is_told(
    api: tuple[str, str], arguments: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        k2(api, *arguments)


def test_an_error_is_one_line_and_its_status_is_of_a_users_mistake(api: tuple[str, str]) -> None:
    command = [sys.executable, "-c", "from k2_cli.main import run; run()"]
    done = subprocess.run(
        [*command, "query", "trades", "--symbol", "NO-SUCH", "--format", "table"],
        cwd=CHECKOUT,
        env={**os.environ, "K2_API_URL": api[0], "K2_API_KEY": api[1]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("k2: unknown symbol 'NO-SUCH'. Known: BTC-USD, BTC-USDT")
    assert done.stderr.endswith("(404 unknown_symbol)\n")
    assert done.stderr.count("\n") == 1


def test_where_nothing_listens_one_line_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoAnswer, match=r"Connection refused.* `k2 api` serves one"):
        k2(("http://127.0.0.1:9", KEY), "symbols")
    assert capfd.readouterr() == ("", "")


LINES = b'{"price":"1.00000000"}\n{"price":"2.00000000"}\n'


@pytest.mark.parametrize(("body", "rows"), [(LINES, 2), (b"", 0), (LINES[:23], 1)], ids=str)
def test_json_is_an_array_of_all_rows(tmp_path: Path, body: bytes, rows: int) -> None:
    with scripted(Said(200, body)) as (address, asked):
        printed = k2((address, KEY), "trades", "--format", "json").stdout
        file = tmp_path / "trades.json"
        k2((address, KEY), "trades", "--out", str(file))
        assert asked.lines == ["GET /v1/trades?format=ndjson"] * 2
    assert json.loads(printed) == json.loads(file.read_text())
    assert [row["price"] for row in json.loads(printed)] == ["1.00000000", "2.00000000"][:rows]


def test_a_pipe_gets_csv_and_a_file_what_its_name_says(tmp_path: Path) -> None:
    with scripted(Said(200, b"bytes")) as (address, asked):
        assert k2((address, KEY), "ohlcv", "--timeframe", "7m").stdout == "bytes"
        k2((address, KEY), "quotes", "--out", str(tmp_path / "q.parquet"), "--start", "2024-08-08")
        assert asked.lines == [
            "GET /v1/ohlcv/7m?format=csv",
            "GET /v1/quotes?start=2024-08-08&format=parquet",
        ]
    assert (tmp_path / "q.parquet").read_bytes() == b"bytes"


def test_how_much_it_would_be_is_said_before() -> None:
    counted = Said(200, b'{"data":{"rows":1234567,"bytes":{"json":300000000,"arrow":9e7}}}')
    with scripted(counted) as (address, asked):
        told = k2((address, KEY), "trades", "--symbol", "BTC-USDT", "--count").stdout
        assert asked.lines == ["GET /v1/trades/count?symbol=BTC-USDT"]
    assert told.splitlines() == [
        "1,234,567 rows",
        "about 300.0 MB as json",
        "about 90.0 MB as arrow",
    ]


def test_a_file_that_was_not_written_to_its_end_is_not_there(tmp_path: Path) -> None:
    with scripted(Said(200, b"half", cut=2)) as (address, _), pytest.raises(NoAnswer):
        k2((address, KEY), "trades", "--out", str(tmp_path / "trades.csv"))
    with scripted(problem(403, "scope_missing")) as (address, _), pytest.raises(Forbidden):
        k2((address, KEY), "trades", "--out", str(tmp_path / "trades.csv"))
    assert list(tmp_path.iterdir()) == []


def test_live_rows_are_a_line_each_until_there_are_enough() -> None:
    turn = Turn([subscribed(), trades(1, 2, cursor="a"), trades(3, 4, cursor="b")])
    asked = ("live", "--symbol", "BTC-USDT", "--exchange", "binance", "--limit", "3")
    with hub(turn) as (address, _):
        told = k2((address, KEY), *asked, "--format", "table").stdout.splitlines()
    assert told[0].split() == [
        *("binance", "BTC-USDT", "2024-08-08T00:00:01.000000Z", "buy"),
        *("61234.50000000", "0.00000001", "1"),
    ]
    with hub(turn) as (address, _):
        rows = [json.loads(line) for line in k2((address, KEY), *asked).stdout.splitlines()]
    assert [row["trade_id"] for row in rows] == ["1", "2", "3"]


def test_address_and_key_may_come_from_the_environment(
    api: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2_API_URL", api[0])
    monkeypatch.setenv("K2_API_KEY", api[1])
    shown = CliRunner().invoke(app, ["query", "symbols"]).stdout
    with K2(*api) as client:
        assert f"{len(client.symbols())} rows" in shown
