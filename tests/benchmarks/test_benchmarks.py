"""Every benchmark runs and tells its figures; how fast is for `make bench` to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compaction, feed, report
from benchmarks.__main__ import RESULTS, Name, Sizes, measure
from benchmarks.chaos import __main__ as chaos
from benchmarks.chaos.report import page
from benchmarks.chaos.seams import Place
from benchmarks.figures import Figure

TINY = Sizes(frames=2_000, rounds=1, full_day=4_000, new_trades=500, day_of_candles=5_000)

EXPECTED = {
    Name.STAGES: {
        "bare consume()": "frames/s",
        "Kafka to bronze": "frames/s",
        "the same, garbage collector off": "frames/s",
        "bronze / bare consume()": "ratio",
        "bronze / consume(), collector off": "ratio",
        "bronze to silver": "frames/s",
        "silver to gold": "frames/s",
        "gold to five timeframes": "frames/s",
        "whole chain": "trades/s",
    },
    Name.TICK: {
        "tick, empty day": "s",
        "tick, full day": "s",
        "tick, full / empty day": "ratio",
        "Dagster tick, empty day": "s",
        "Dagster tick, full day": "s",
        "Dagster tick, full / empty day": "ratio",
    },
    Name.ONE_MINUTE: {
        "1m candles, bare query": "trades/s",
        "1m candles": "trades/s",
        "1m candles / bare query": "ratio",
    },
}


@pytest.mark.parametrize("name", list(Name))
def test_a_tiny_run_tells_every_figure(name: Name, tmp_path: Path) -> None:
    told: list[str] = []

    figures = measure([name], TINY, tmp_path / "lakes", told.append)
    report.write(tmp_path / "chain.json", figures, {"rounds": 1})

    found = json.loads((tmp_path / "chain.json").read_text())
    assert {f["name"]: f["unit"] for f in found["figures"]} == EXPECTED[name]
    assert all(f["median"] > 0 and len(f["runs"]) == 1 for f in found["figures"])
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["libraries"].keys() >= {"duckdb", "pyarrow", "pyiceberg"}
    assert told


FEED = {
    "bare websockets loop": "frames/s",
    "socket to acknowledged record": "frames/s",
    "feed / bare loop": "ratio",
}


def test_a_tiny_feed_loses_no_frame_and_tells_every_figure(tmp_path: Path) -> None:
    told: list[str] = []

    figures = feed.measure(2_000, 1, tmp_path, told.append)

    assert {f.name: f.unit for f in figures} == FEED
    assert all(f.value > 0 for f in figures)
    assert told


COMPACTION = {
    "small files of the day": "files",
    "files after compaction": "files",
    "bytes, before / after": "ratio",
    "planning the day, before / after": "ratio",
    "1m candles of the day, before / after": "ratio",
    "one symbol's hour, before / after": "ratio",
    "three columns through PyIceberg, before / after": "ratio",
}


def test_a_tiny_compaction_tells_every_figure(tmp_path: Path) -> None:
    figures = compaction.measure(12, 6_000, 1, tmp_path, lambda _: None)

    assert {f.name: f.unit for f in figures} == COMPACTION
    assert [f.value for f in figures[:2]] == [12, 1]
    assert all(f.value > 0 for f in figures)


def test_a_figure_is_the_median_of_its_runs_and_knows_whether_it_reaches_its_aim() -> None:
    fast, slow = Figure("a", "x", [1.0, 9.0, 2.0], at_least=2), Figure("b", "x", [3.0], at_most=2)

    assert (fast.value, fast.reached) == (2.0, True)
    assert (slow.value, slow.reached) == (3.0, False)
    assert Figure("c", "x", [1.0]).reached is None


def test_the_page_on_performance_says_what_the_command_printed() -> None:
    page = (RESULTS.parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    chain = {n: unit for names in EXPECTED.values() for n, unit in names.items()}
    for results, names in (
        (RESULTS, chain),
        (feed.RESULTS, FEED),
        (compaction.RESULTS, COMPACTION),
    ):
        found = json.loads(results.read_text(encoding="utf-8"))
        assert {f["name"]: f["unit"] for f in found["figures"]} == names
        _agrees(found, page)


def _agrees(found: dict[str, Any], page: str) -> None:
    for f in found["figures"]:
        numbers = " | ".join(report.text(n) for n in (f["median"], min(f["runs"]), max(f["runs"])))
        assert f"| {f['name']} | {f['unit']} | {numbers} |" in page
    assert found["measured_at"][:10] in page


def test_the_page_on_performance_says_what_the_soak_found() -> None:
    page = (RESULTS.parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    found = json.loads((RESULTS.parent / "soak.json").read_text(encoding="utf-8"))
    frames, memory = found["frames"], found["memory"]
    assert found["reached"] == {"nothing missing": True, "memory flat": True}
    for line in (
        f"| frames written to an open, subscribed socket | {frames['sent']:,} |",
        f"| trades in bronze, each once | {frames['bronze_trades']:,} |",
        f"| missing | {frames['missing']:,} |",
        f"| disconnects | {found['disconnects']} |",
        f"| {memory['first_quarter_mb']} MB, {memory['last_quarter_mb']} MB |",
        f"| longest gap between two frames | {found['longest_gap_s']:.2f} s |",
        f"| trades made while nobody was connected | {frames['not_sent']:,} |",
    ):
        assert line.removeprefix("| ") in page, line


def test_the_page_on_exactly_once_says_what_the_chaos_run_printed() -> None:
    text = chaos.PAGE.read_text(encoding="utf-8")
    found = json.loads(chaos.RESULTS.read_text(encoding="utf-8"))
    assert page(found) in text
    assert f"{found['kills']} kills" in text
    assert found["measured_at"][:10] in text
    assert found["kills"] >= 200
    for stage in found["stages"].values():
        wrong = ("rows_lost", "rows_doubled", "rows_wrong", "checks_failed", "other_failures")
        assert {name: stage[name] for name in wrong} == dict.fromkeys(wrong, 0)
        assert sum(k["kills"] for k in stage["kills"]) == stage["times_killed"]
    places = {k["place"] for stage in found["stages"].values() for k in stage["kills"]}
    assert places == set(Place)
