from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from tests.k2_api.lake_of_trades import Made, TradeLake, many
from tests.needs import CHECKOUT

K2 = [sys.executable, "-c", "from k2_cli.main import run; run()"]

ODD = """
select 0.00000001::decimal(18,8) d, null n, '' e, 'a"b,c' q, trade_count::hugeint h, timestamp t,
  timestamp::timestamp naive, trade_date, trade_conditions l, vendor_data m, candle_eligible b,
  'x'::blob bin, 0.5::double f, {'p': price} s
from gold.trades order by timestamp limit 1
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = TradeLake(tmp_path_factory.mktemp("cli"))
    lake.add([Made(1, 0.000001, conditions=["A", "B"], vendor={"k": "1,5"}), *many(80, first=2)])
    return lake.settings.home


def k2(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*K2, *map(str, arguments)],
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


def answer(home: Path, form: str, sql: str) -> bytes:
    done = k2("sql", "--home", home, "--format", form, sql)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def test_csv_is_rfc_4180_with_exact_values(home: Path) -> None:
    header, line, rest = answer(home, "csv", ODD).decode().split("\r\n")
    assert (header, rest) == ("d,n,e,q,h,t,naive,trade_date,l,m,b,bin,f,s", "")
    assert line == (
        '0.00000001,,"","a""b,c",1,2024-08-08T00:00:00.000001Z,2024-08-08T00:00:00.000001,'
        '2024-08-08,"[""A"",""B""]","{""k"":""1,5""}",true,78,0.5,"{""p"":""61234.50000000""}"'
    )


def test_json_is_an_array_of_objects_with_decimals_as_strings(home: Path) -> None:
    assert json.loads(answer(home, "json", ODD)) == [
        {
            "d": "0.00000001",
            "n": None,
            "e": "",
            "q": 'a"b,c',
            "h": 1,
            "t": "2024-08-08T00:00:00.000001Z",
            "naive": "2024-08-08T00:00:00.000001",
            "trade_date": "2024-08-08",
            "l": ["A", "B"],
            "m": {"k": "1,5"},
            "b": True,
            "bin": "78",
            "f": 0.5,
            "s": {"p": "61234.50000000"},
        }
    ]


def test_json_of_no_rows_is_an_empty_array(home: Path) -> None:
    assert json.loads(answer(home, "json", "select 1 a limit 0")) == []


def test_json_keeps_both_of_two_columns_with_one_name(home: Path) -> None:
    assert json.loads(answer(home, "json", "select 1 a, 2 a")) == [{"a_1": 1, "a_2": 2}]


def test_a_hugeint_keeps_all_its_digits(home: Path) -> None:
    big = 2**120 + 1
    assert json.loads(answer(home, "json", f"select {big}::hugeint a")) == [{"a": big}]
    assert answer(home, "csv", f"select {big}::hugeint a") == f"a\r\n{big}\r\n".encode()


def test_arrow_is_a_stream_with_exact_types(home: Path) -> None:
    sql = "select price, timestamp, sum(trade_count) over () s from gold.trades order by 2 limit 1"
    table = pa.ipc.open_stream(io.BytesIO(answer(home, "arrow", sql))).read_all()
    assert table.schema.field("price").type == pa.decimal128(18, 8)
    assert pa.types.is_decimal(table.schema.field("s").type)
    (row,) = table.to_pylist()
    assert (row["price"], row["s"]) == (Decimal("61234.50000000"), 81)
    assert row["timestamp"].isoformat() == "2024-08-08T00:00:00.000001+00:00"


def test_csv_json_and_arrow_are_complete_and_a_table_says_how_many_rows_there_are(
    home: Path,
) -> None:
    sql = "select trade_id from gold.trades"
    assert len(answer(home, "csv", sql).splitlines()) == 82
    assert len(json.loads(answer(home, "json", sql))) == 81
    assert b"50 of 81 rows" in answer(home, "table", sql)
    shown = answer(home, "table", "select price, null n from gold.trades order by 1 desc limit 1")
    assert "61234.50000000" in shown.decode()
    assert "1 row" in shown.decode().splitlines()


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("drop view gold.trades", "DROP is refused"),
        ("select * from read_csv('/etc/passwd')", "read_csv() is refused"),
        ("selec", "syntax error"),
        ("select 1 / ", "syntax error"),
        ("select 'infinity'::timestamptz x", "no text form"),
        ("select interval 1 day x", "cast it to varchar"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(home: Path, sql: str, says: str) -> None:
    done = k2("sql", "--home", home, sql)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines)) == (2, 1)
    assert lines[0].startswith("k2: ")
    assert says in lines[0]


def test_a_missing_home_is_exit_2_and_is_not_made(tmp_path: Path) -> None:
    home = tmp_path / "none"
    for done in (k2("sql", "--home", home, "select 1"), k2("sql", "select 1", K2_HOME=str(home))):
        assert done.returncode == 2
        assert str(home) in done.stderr.decode()
        assert not home.exists()


def test_the_version_and_help_are_told() -> None:
    assert k2("--version").stdout.startswith(b"k2 ")
    assert b"sql" in k2("--help").stdout


def test_who_stops_reading_the_output_gets_no_traceback(home: Path) -> None:
    sql = "select * from range(3000000)"
    command = [*K2, "sql", "--home", str(home), "--format", "csv", sql]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.readline() == b"range\r\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1


def test_the_api_serves_until_it_is_interrupted(home: Path) -> None:
    command = [*K2, "api", "--home", str(home), "--port", "0"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().decode().split()[3]
            made = k2("keys", "create", "--home", home, "tests")
            asked = urllib.request.Request(
                f"{address}/v1/trades?limit=1", headers={"X-API-Key": made.stdout.decode().strip()}
            )
            with urllib.request.urlopen(asked, timeout=20) as response:
                assert json.load(response)["data"][0]["trade_id"] == "1"
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_a_taken_port_is_one_line_and_exit_2(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = k2("api", "--home", home, "--port", port)
        from_environment = k2("api", K2_HOME=str(home), K2_API_PORT=port)
    for failed in (done, from_environment):
        assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 1)
        assert f"127.0.0.1:{port}" in failed.stderr.decode()
