"""``k2 load``: archives through real broker, tables, Dagster runs and checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from k2_cli.home import locked_home
from k2_feeds.kafka.admin import TopicsAdmin, TopicSettings
from k2_feeds.kafka.topics import raw_topic
from k2_market.kinds import Kind
from tests.archives import zipped
from tests.frames import Print
from tests.k2_cli.test_once import Outcome, k2, market, once, sql, tape
from tests.kafka_server import KafkaServer

DAY = 86_400_000
NAME = "BTCUSDT-trades-2024-08-08"
PRINTS = [
    Print(i, (DAY - 5_000) + i * 500, f"{100 + i % 7}.5", "0.25", buyer_is_maker=i % 2 == 0)
    for i in range(1, 21)
]


def dump(path: Path, *extra: str) -> Path:
    """The trades as Binance's spot dump has them, zipped with its checksum beside."""
    rows = [
        f"{p.trade_id},{p.price},{p.quantity},25.0,{p.time_ms},{p.buyer_is_maker},True"
        for p in PRINTS
    ]
    plain = path.with_suffix(".csv")
    plain.write_text("\n".join([*rows, *extra]) + "\n")
    return zipped(path, plain)


def load(home: Path, *arguments: object, exchange: str = "binance") -> Outcome:
    return k2("load", "--home", home, "--exchange", exchange, *arguments)


@pytest.mark.timeout(400)
def test_a_dump_its_repeat_and_the_live_frames_of_its_trades_are_each_trade_once(
    tmp_path: Path,
) -> None:
    home, file = tmp_path / "home", dump(tmp_path / f"{NAME}.zip", "21,-1,1,1,1,True,True", "22")
    first = load(home, file)
    assert first.code == 0, first.err
    wanted = {
        "files": "1",
        "rows": "22",
        "trades": "20",
        "rejected": "2",
        "rejected: binance: price_not_positive": "1",
        "rejected: binance: wrong_cells": "1",
        "duplicates": "0",
        "added to gold": "20",
        "trade days": "2",
        "checks failed": "0",
    }
    assert {k: first.figures.get(k) for k in wanted} == wanted
    details = sql(home, "select detail from silver.rejected order by detail")["detail"].to_pylist()
    assert [d.partition(":")[0] for d in details] == [f"line {n} of {NAME}.csv" for n in (21, 22)]
    before = market(home)
    again = load(home, file)
    assert (again.code, again.figures["duplicates"], again.figures["added to gold"]) == (
        0,
        "20",
        "0",
    )
    assert market(home) == before
    live = once(home, f"binance:{tape(tmp_path / 'live.jsonl', PRINTS)}")
    assert (live.code, live.figures["duplicates"], live.figures["added to gold"]) == (0, "20", "0")
    # Received years before the file was loaded, so the live report takes its place.
    rows = sql(
        home,
        "select distinct event_time is null as archived, count(*) as n from"
        " gold.trades group by all",
    ).to_pylist()
    assert rows == [{"archived": False, "n": 20}]
    assert market(home)[1:] == before[1:]


@pytest.mark.timeout(400)
def test_a_dump_of_quotes_is_loaded_once_and_a_bad_row_keeps_its_line(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "BTCUSDT-bookTicker-2024-08-08.csv"
    rows = [f"{n},100.{n},1,101.{n},2,{1723161255000 + n},{1723161255001 + n}" for n in range(9)]
    file.write_text("\n".join([*rows, "9,100,-1,101,2,1723161255000,1723161255001"]))
    for added in ("9", "0"):
        done = load(home, "--kind", "quotes", file, exchange="binance_usdm")
        assert (done.code, done.figures["added to gold"]) == (0, added), done.err
    kept = sql(home, "select quote_id, bid_price from gold.quotes order by source_sequence")
    assert kept["quote_id"].to_pylist() == [str(n) for n in range(9)]
    [detail] = set(sql(home, "select detail from silver.rejected")["detail"].to_pylist())
    assert detail.startswith(f"line 10 of {file.name}: ")


@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_a_dump_goes_through_a_cluster_once_and_its_repeat_adds_nothing(
    tmp_path: Path, kafka_server: KafkaServer
) -> None:
    topic = raw_topic(Kind.TRADES, "binance")
    kafka_server.delete_topic(topic)
    TopicsAdmin(kafka_server.settings).create([topic], TopicSettings(partitions=2))
    home, file = tmp_path / "home", dump(tmp_path / f"{NAME}.zip", "22")
    env = {"K2_KAFKA_BOOTSTRAP": kafka_server.settings.bootstrap}
    for added, duplicates in (("20", "0"), ("0", "20")):
        done = k2("load", "--home", home, "--exchange", "binance", file, env=env)
        assert done.code == 0, done.err
        assert (done.figures["added to gold"], done.figures["duplicates"]) == (added, duplicates)
        assert done.figures["rejected: binance: wrong_cells"] == "1"
    assert not (home / "broker").exists()


# Loads a file in this process, 20,000 rows at once in each step instead of up to 500,000, and tells
# the most memory it held. What a step takes at once decides it; each run leaves a little.
MEASURED = """
import resource, sys
from k2_assets import ingest
from k2_cli import chain, main
from k2_lake import silver
chain.ROWS_AT_ONCE = ingest.FRAMES_PER_COMMIT_EMBEDDED = silver.FRAMES_PER_COMMIT = 20_000
main.app(sys.argv[1:], standalone_mode=False)
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
# Less than a row takes by itself, so rows that have gone through are not kept.
MOST_MORE_BYTES_A_ROW = 750
COUNTS = (60_000, 600_000)


@pytest.mark.timeout(600)
def test_ten_times_as_many_rows_take_little_more_memory(tmp_path: Path) -> None:
    peaks = []
    for count in COUNTS:
        file = tmp_path / f"BTCUSDT-trades-{count}.csv"
        with file.open("w") as out:
            out.writelines(
                f"{n},{60_000 + n % 977}.25,0.{1 + n % 997},25.0,{1723161255000 + n},True,True\n"
                for n in range(count)
            )
        arguments = ("load", "--home", tmp_path / str(count), "--exchange", "binance", file)
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"{count:,}" in done.stdout
        peaks.append(int(done.stdout.rpartition("PEAK ")[2]) * 1024)
    assert (peaks[1] - peaks[0]) / (COUNTS[1] - COUNTS[0]) < MOST_MORE_BYTES_A_ROW, peaks


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--kind", "quotes", "{file}"),
            "formats known of quotes of binance (k2.quotes)",
        ),
        (("{folder}/absent.zip",), "No such file"),
        (("{folder}",), "Is a directory"),
        (("{bad}",), "bad.zip.CHECKSUM says 000"),
        (("--symbol", "what", "{file}"), "symbol 'what' cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    file = dump(tmp_path / f"{NAME}.zip")
    bad = zipped(tmp_path / "bad.zip", file.with_suffix(".csv"), checksum="0" * 64)
    given = [a.format(file=file, folder=tmp_path, bad=bad) for a in arguments]
    outcome = load(tmp_path / "home", *given)
    assert outcome.code == 2
    assert told in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_a_home_in_use_names_its_process_and_the_landing_folder(tmp_path: Path) -> None:
    file = dump(tmp_path / f"{NAME}.zip")
    home = tmp_path / "home"
    with locked_home(home):
        outcome = load(home, file)
    assert outcome.code == 2
    assert f"in use by process {os.getpid()}" in outcome.err
    assert f"put the files into '{home}/landing/binance/trades'" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
