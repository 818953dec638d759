"""``k2 dlq`` over the lake and the folder of a home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k2_assets.resources import BROKER_FOLDER
from k2_cli.home import locked_home
from k2_cli.show_letters import hex_lines, printable, text_of
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.frame import encode_header
from k2_feeds.kafka.reader import TopicReader
from k2_feeds.kafka.topics import raw_topic
from k2_feeds.kafka.undelivered import DeadLetters, Undelivered
from k2_lake.silver import refine
from k2_lake.tables import REJECTED_TABLE
from k2_market.kinds import Kind
from tests.frames import Print, frame_table
from tests.k2_cli.test_once import Outcome, k2
from tests.k2_lake.test_second_parse import PRINTS, refusing, tick
from tests.lakes import LakeDriver, parser

HOSTILE = b'{"stream":"\x1b[31mred\x00\xe2\x80\xae\xff'
FRAME = Print(77, 0, "5", "1").binance()
TOPIC = raw_topic(Kind.TRADES, "binance")


def dlq(home: Path, *arguments: object) -> Outcome:
    command, *rest = arguments
    return k2("dlq", command, "--home", home, *rest)


def listed(home: Path, *arguments: object) -> tuple[dict[str, int], list[str]]:
    """Letters by reason, and the names of the newest."""
    outcome = dlq(home, "list", "--format", "json", *arguments)
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    by_reason = {count["reason"]: count["letters"] for count in found["counts"]}
    return by_reason, [letter["letter"] for letter in found["newest"]]


def fill(home: Path) -> LakeDriver:
    """Eight trades that the parser of the day did not know, and a frame that none will."""
    driver = LakeDriver(home)
    driver.receive(PRINTS)
    tick(driver, refusing(parser(), range(0, 24, 3)))
    driver.receive_frames(frame_table([(HOSTILE, 1)], driver.next_offset()))
    refine(driver.lake, driver.engine, "binance", Kind.TRADES, parser())
    return driver


def refuse(home: Path) -> str:
    """A frame that Kafka did not take; its letter's name."""
    header = encode_header(1_700_000_000_000_000, 7, 1)
    letter = Undelivered(TOPIC, "BTCUSDT", header, FRAME, "MSG_SIZE_TOO_LARGE", 1)
    return f"undelivered/{DeadLetters(home).append(letter)}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with letters of both sources, which the tests leave as it is."""
    home = tmp_path_factory.mktemp("filled")
    fill(home)
    refuse(home)
    return home


def test_letters_of_both_sources_are_counted_and_listed_newest_first(filled: Path) -> None:
    counts, names = listed(filled)
    assert counts == {"not_known_yet": 8, "MSG_SIZE_TOO_LARGE": 1, "malformed_json": 1}
    assert names[:2] == ["binance/trades/1/0/21/0", "binance/trades/1/0/18/0"]
    assert names[8].startswith("undelivered/")
    assert names[9] == "binance/trades/1/0/24/-1"
    shown = dlq(filled, "list", "--limit", 3).out
    assert "3 of 10 shown" in shown
    assert "│ binance  │ trades │ not_known_yet " in shown


@pytest.mark.parametrize(
    ("conditions", "counts"),
    [
        (("--exchange", "kraken"), {}),
        (("--kind", "quotes"), {}),
        (("--reason", "malformed_json"), {"malformed_json": 1}),
        (("--text", "TRADE 2"), {"not_known_yet": 1}),
        (("--until", "2024-01-01"), {"MSG_SIZE_TOO_LARGE": 1}),
        (("--since", "2026-03-01"), {"not_known_yet": 8, "malformed_json": 1}),
        (("--letter", "binance/trades/1/0/21"), {"not_known_yet": 1}),
        (("--letter", "binance/trades/1/0/21/-1"), {}),
    ],
)
def test_a_list_is_of_what_meets_every_condition(
    filled: Path, conditions: tuple[str, ...], counts: dict[str, int]
) -> None:
    assert listed(filled, *conditions)[0] == counts


def test_a_letter_is_shown_with_its_bytes_and_nothing_of_it_reaches_the_terminal_raw(
    filled: Path,
) -> None:
    shown = dlq(filled, "show", "binance/trades/1/0/24").out
    assert r'{"stream":"\x1b[31mred\x00\u202e\xff' in shown
    assert '00000000  7b 22 73 74 72 65 61 6d 22 3a 22 1b 5b 33 31 6d  {"stream":".[31m' in shown
    assert all(character.isprintable() or character == "\n" for character in shown)
    [letter] = json.loads(dlq(filled, "show", "binance/trades/1/0/24", "--format", "json").out)
    assert bytes.fromhex(letter["hex"]) == HOSTILE
    assert (letter["reason"], letter["bytes"]) == ("malformed_json", len(HOSTILE))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "binance/trades/1/0/99"), "there is no dead letter 'binance/trades/1/0/99'"),
        (("show", "binance/1/0/99"), "'binance/1/0/99' names no dead letter. Copy a name from"),
        (("show", "undelivered/5"), "there is no dead letter '5' in "),
        (("list", "--exchange", "mtgox"), "unknown exchange 'mtgox'"),
        (
            ("list", "--exchange", "kraken", "--letter", "binance/trades/1/0/9"),
            "letter 'binance/trades/1/0/9' is not of the exchange that was asked for",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    filled: Path, arguments: tuple[str, ...], told: str
) -> None:
    outcome = dlq(filled, *arguments)
    assert (outcome.code, len(outcome.err.strip().splitlines())) == (2, 1)
    assert told in outcome.err


def test_a_folder_without_a_lake_is_told_and_not_made(tmp_path: Path) -> None:
    outcome = dlq(tmp_path / "none", "list")
    assert outcome.code == 2
    assert "there is no lake at" in outcome.err
    assert not (tmp_path / "none").exists()


def test_where_there_are_no_letters_that_is_what_is_said(tmp_path: Path) -> None:
    driver = LakeDriver(tmp_path)
    driver.receive(PRINTS)
    for arguments in (("list",), ("replay",)):
        outcome = dlq(tmp_path, *arguments)
        assert (outcome.code, outcome.out) == (0, "no dead letters\n")
    assert json.loads(dlq(tmp_path, "list", "--format", "json").out) == {"counts": [], "newest": []}


def test_a_host_that_only_runs_feeds_has_its_undelivered_letters(tmp_path: Path) -> None:
    name = refuse(tmp_path)
    assert listed(tmp_path) == ({"MSG_SIZE_TOO_LARGE": 1}, [name])
    assert FRAME.decode() in dlq(tmp_path, "show", name).out
    outcome = dlq(tmp_path, "replay")
    assert outcome.code == 1
    assert "no broker" in outcome.err
    assert listed(tmp_path)[1] == [name]


@pytest.mark.timeout(300)
def test_a_replay_at_rest_brings_the_rows_to_gold_and_candles_and_a_second_changes_nothing(
    tmp_path: Path,
) -> None:
    home = tmp_path / "wrong"
    wrong, right = fill(home), LakeDriver(tmp_path / "right")
    right.receive(PRINTS)
    tick(right, parser())
    first = dlq(home, "replay")
    assert first.code == 0, first.err
    wanted = {
        "binance trades: letters": "9",
        "binance trades: rows now in silver": "8",
        "binance trades: still rejected": "1",
        "trades: days brought to gold": "2",
    }
    assert {name: first.figures.get(name) for name in wanted} == wanted
    for table in ("gold.trades", "gold.ohlcv_1m", "gold.ohlcv_1d"):
        assert wrong.rows(table) == right.rows(table)
    second = dlq(home, "replay")
    assert second.figures["binance trades: rows now in silver"] == "0"
    assert [r["payload"] for r in wrong.rows(REJECTED_TABLE)] == [HOSTILE]


def test_a_replay_beside_a_platform_leaves_gold_to_it_and_produces_what_kafka_refused(
    tmp_path: Path,
) -> None:
    driver = fill(tmp_path)
    name = refuse(tmp_path)
    with locked_home(tmp_path), start_broker(tmp_path / BROKER_FOLDER) as broker:
        outcome = dlq(tmp_path, "replay")
        assert outcome.code == 0, outcome.err
        assert outcome.figures["undelivered: produced now"] == "1"
        assert "brings 2 days of trades to gold" in outcome.out
        with TopicReader(broker.settings, TOPIC) as reader:
            ends = {p: high for p, (_, high) in reader.watermarks().items()}
            batch = reader.read({}, ends, 10)
    assert batch is not None
    assert batch.table["payload"].to_pylist() == [FRAME]
    assert len(driver.rows("silver.binance_trades")) == 24
    assert len(driver.rows("gold.trades")) == 16
    assert name not in listed(tmp_path)[1]


def test_text_and_hex_are_cut_and_say_how_much_there_is() -> None:
    assert text_of(b"x" * 30_000).endswith("xxx... (30,000 bytes)")
    lines = list(hex_lines(bytes(range(256)) * 20))
    assert len(lines) == 4096 // 16 + 1
    assert lines[-1] == "... (5,120 bytes; --format json gives all)"
    assert printable("a\tb\u2028c\U0001f600") == "a\\tb\\u2028c\U0001f600"
