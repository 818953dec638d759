"""``k2 demo --once``: recorded frames through real broker, tables, Dagster runs and checks."""

from __future__ import annotations

import csv
import gzip
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2_cli.home import locked_home
from tests.frames import Print

K2 = [str(Path(sys.executable).with_name("k2"))]
DAY = 86_400_000


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, str]:
        """The lines of the summary: name and figure."""
        cells = [line.strip("│ ").split("│") for line in self.out.splitlines() if "│" in line]
        return {name.strip(): value.strip() for name, value in cells}


def k2(*arguments: object, env: Mapping[str, str] | None = None) -> Outcome:
    done = subprocess.run(
        [*K2, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "COLUMNS": "120", **(env or {})},
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def once(home: Path, *frames: str) -> Outcome:
    return k2("demo", "--once", "--home", home, *(x for f in frames for x in ("--frames", f)))


def sql(home: Path, query: str) -> pa.Table:
    done = subprocess.run(
        [*K2, "sql", "--home", str(home), "--format", "arrow", query],
        capture_output=True,
        check=True,
        timeout=120,
    )
    return pa.ipc.open_stream(done.stdout).read_all()


def tape(path: Path, prints: Sequence[Print], extra: Sequence[bytes] = ()) -> Path:
    lines = [b"%d %s" % (p.received_us * 1000, p.binance()) for p in prints]
    path.write_bytes(b"\n".join([*lines, *extra]) + b"\n")
    return path


MARKET = (
    "select * exclude (epoch, kafka_partition, kafka_offset, frame_index, ingest_date)"
    " from gold.trades order by all"
)
CANDLES = "select * from gold.ohlcv_{} order by all"


def market(home: Path) -> list[pa.Table]:
    return [sql(home, MARKET), *(sql(home, CANDLES.format(t)) for t in ("1m", "1d"))]


PRINTS = [
    Print(i, (DAY - 5_000) + i * 500, f"{100 + i % 7}.5", "0.25", buyer_is_maker=i % 2 == 0)
    for i in range(1, 21)
]


RECEIVED_NS = 1723161300_000000000
BAD = [
    b'{"stream":"btcusdt@trade","data":{"e":"trade"',
    Print(900, 0, "-5", "1").binance(),
    Print(901, 0, "1.123456789", "1").binance(),
    Print(902, 4_000 * DAY, "1", "1").binance(),
    b'{"what":"is this"}',
    b'{"result":null,"id":1}',
]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A home into which a tape with two trade days, rejects and control frames was replayed."""
    folder = tmp_path_factory.mktemp("replayed")
    file = tape(folder / "tape.jsonl", PRINTS, [b"%d %s" % (RECEIVED_NS, bad) for bad in BAD])
    return folder / "home", once(folder / "home", f"binance:{file}")


def test_the_summary_tells_what_became_of_every_frame(replayed: tuple[Path, Outcome]) -> None:
    _, outcome = replayed
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    wanted = {
        "frames": "26",
        "trades": "20",
        "rejected": "5",
        "rejected: binance: malformed_json": "1",
        "rejected: binance: price_not_positive": "1",
        "rejected: binance: bad_decimal": "1",
        "rejected: binance: time_in_future": "1",
        "rejected: binance: unknown_frame": "1",
        "frames: control": "1",
        "duplicates": "0",
        "added to gold": "20",
        "trade days": "2",
        "candles 1m": "2",
        "candles 1d": "2",
        "checks failed": "0",
    }
    assert {k: outcome.figures.get(k) for k in wanted} == wanted
    assert int(outcome.figures["checks passed"]) > 0


def test_rejected_rows_keep_reason_coordinates_and_bytes(replayed: tuple[Path, Outcome]) -> None:
    home, _ = replayed
    rows = sql(
        home,
        "select r.reason, r.payload = b.payload as same from silver.rejected r join"
        " bronze.binance_trades b using (epoch, kafka_partition, kafka_offset) order by reason",
    ).to_pylist()
    assert [r["same"] for r in rows] == [True] * 5
    assert rows[0]["reason"] == "bad_decimal"


def test_running_again_adds_nothing_to_gold_and_changes_no_candle(
    replayed: tuple[Path, Outcome], tmp_path: Path
) -> None:
    home, _ = replayed
    before = sql(home, "select * from gold.trades order by all"), market(home)
    again = once(home, f"binance:{tape(tmp_path / 'again.jsonl', PRINTS)}")
    assert (again.code, again.figures["duplicates"], again.figures["added to gold"]) == (
        0,
        "20",
        "0",
    )
    assert (sql(home, "select * from gold.trades order by all"), market(home)) == before


def test_frames_cut_in_two_with_overlap_and_in_reverse_give_the_same_market(
    replayed: tuple[Path, Outcome], tmp_path: Path
) -> None:
    first = tape(tmp_path / "a.jsonl", PRINTS[:12])
    second = tmp_path / "b.jsonl.gz"
    second.write_bytes(gzip.compress(tape(tmp_path / "b.jsonl", PRINTS[8:]).read_bytes()))
    outcome = once(tmp_path / "home", f"binance:{second}", f"binance:{first}")
    assert (outcome.code, outcome.figures["duplicates"]) == (0, "4")
    assert market(tmp_path / "home") == market(replayed[0])


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        ("bitmex:{file}", "unknown exchange 'bitmex'"),
        ("binance:{folder}/absent.gz", "No such file"),
        ("binance:{folder}", "Is a directory"),
        ("binance", "EXCHANGE:PATH"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(tmp_path: Path, frames: str, told: str) -> None:
    file = tape(tmp_path / "t.jsonl", PRINTS)
    outcome = once(tmp_path / "home", frames.format(file=file, folder=tmp_path))
    assert outcome.code == 2
    assert told in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_a_home_in_use_is_refused_with_the_process_that_uses_it(tmp_path: Path) -> None:
    file = tape(tmp_path / "t.jsonl", PRINTS)
    with locked_home(tmp_path / "home"):
        outcome = once(tmp_path / "home", f"binance:{file}")
    assert outcome.code == 2
    assert f"in use by process {os.getpid()}" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_damaged_archive_is_one_line_and_exit_2(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl.gz"
    whole = gzip.compress(tape(tmp_path / "t.jsonl", PRINTS).read_bytes())
    file.write_bytes(whole[: len(whole) // 2])
    outcome = once(tmp_path / "home", f"binance:{file}")
    assert outcome.code == 2
    assert "is damaged" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_taken_port_is_one_line_and_exit_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = k2("demo", "--home", tmp_path / "home", "--dagster-port", port)
    assert outcome.code == 2
    assert f"port {port}" in outcome.err
    assert "--dagster-port" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def recorded(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All recorded Binance frames and real Kraken frames, replayed."""
    home = tmp_path_factory.mktemp("recorded")
    outcome = once(
        home,
        *(f"binance:{f}" for f in sorted(shared_data.glob("binance_spot/*.gz"))),
        *(f"binance_usdm:{f}" for f in sorted(shared_data.glob("binance_usdm/*.gz"))),
        f"kraken:{shared_data / 'kraken_v2' / 'real_frames.jsonl'}",
    )
    assert outcome.code == 0, outcome.err
    assert outcome.figures["checks failed"] == "0"
    return home


KLINES = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
    "quote_volume": "quote_volume",
    "count": "trade_count",
    "taker_buy_volume": "taker_buy_volume",
    "taker_buy_quote_volume": "taker_buy_quote_volume",
}


@pytest.mark.data
@pytest.mark.timeout(300)
def test_the_exchanges_own_minutes_equal_ours_on_all_nine_fields(
    recorded: Path, shared_data: Path
) -> None:
    [file] = shared_data.glob("binance_usdm/*.csv")
    with file.open() as lines:
        official = {int(r["open_time"]): r for r in csv.DictReader(lines)}
    ours = {
        row["us"] // 1000: row
        for row in sql(
            recorded,
            "select *, epoch_us(window_start) as us from gold.ohlcv_1m"
            " where exchange = 'binance_usdm' and symbol = 'BTC-USDT'",
        ).to_pylist()
    }
    assert len(official) == 5
    for opened, theirs in official.items():
        found = {name: Decimal(ours[opened][field]) for name, field in KLINES.items()}
        assert found == {name: Decimal(theirs[name]) for name in KLINES}


@pytest.mark.data
@pytest.mark.timeout(300)
def test_reconciliation_finds_five_of_five_minutes_on_nine_fields_and_one_wrong_digit(
    recorded: Path, shared_data: Path, tmp_path: Path
) -> None:
    [file] = shared_data.glob("binance_usdm/*.csv")
    wanted = ["--home", recorded, "--exchange", "binance_usdm", "--symbol", "BTC-USDT"]
    outcome = k2("reconcile", *wanted, file)
    assert outcome.code == 0, outcome.err
    lines = [line.split() for line in outcome.out.splitlines()]
    counts = {line[0]: line[1:] for line in lines if len(line) == 6 and line[1].isdigit()}
    assert counts == {name: ["5", "0", "0", "0", "0"] for name in ("windows", *KLINES.values())}

    wrong = tmp_path / "wrong.csv"
    wrong.write_text(file.read_text().replace("136.450", "136.451"))
    outcome = k2("reconcile", *wanted, wrong)
    assert outcome.code == 1
    assert "2024-08-08 23:55 differs: volume ours 136.45, theirs 136.451" in outcome.out
    kept = sql(recorded, "select outcome, differing from gold.reconciliation order by window_start")
    assert kept.to_pylist() == [
        {"outcome": "differs", "differing": ["volume"]},
        *[{"outcome": "matched", "differing": []}] * 4,
    ]


@pytest.mark.data
@pytest.mark.timeout(300)
def test_every_recorded_binance_trade_is_in_gold_once_with_every_field_right(
    recorded: Path, shared_data: Path
) -> None:
    expected = pq.read_table(shared_data / "expected_trades.parquet").to_pylist()
    markets = {"binance_spot": "binance", "binance_usdm": "binance_usdm"}
    wanted = sorted(
        (
            markets[e["file"].split("/")[0]],
            e["symbol"],
            e["trade_id"],
            Decimal(e["price"]),
            Decimal(e["qty"]),
            e["taker_side"],
            e["trade_time_us"],
            e["event_time_us"],
            None if e["exec_type"] in (None, "MARKET") else (e["exec_type"],),
        )
        for e in expected
        if e["file"].split("/")[0] in markets and not e["aggregated"]
    )
    rows = sql(
        recorded,
        "select *, epoch_us(timestamp) as t, epoch_us(event_time) as e from gold.trades"
        " where exchange <> 'kraken'",
    ).to_pylist()
    found = sorted(
        (
            r["exchange"],
            r["exchange_symbol"],
            r["trade_id"],
            r["price"],
            r["quantity"],
            r["side"],
            r["t"],
            r["e"],
            None if r["trade_conditions"] is None else tuple(r["trade_conditions"]),
        )
        for r in rows
    )
    assert len(wanted) > 50_000
    assert found == wanted


@pytest.mark.data
@pytest.mark.timeout(300)
def test_every_trade_of_a_recorded_kraken_frame_is_kept(recorded: Path, shared_data: Path) -> None:
    lines = (shared_data / "kraken_v2" / "real_frames.jsonl").read_text().splitlines()
    frames = [json.loads(json.loads(line)["raw"]) for line in lines]
    wanted = [str(t["trade_id"]) for f in frames if f.get("channel") == "trade" for t in f["data"]]
    found = sql(recorded, "select trade_id from gold.trades where exchange = 'kraken'")
    assert sorted(found["trade_id"].to_pylist()) == sorted(wanted)
    assert len(wanted) == 6
