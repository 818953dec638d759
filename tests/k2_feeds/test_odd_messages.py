"""Every odd message that was captured is recognised as what it is, and none is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k2_feeds.adapter import Channel
from k2_feeds.adapters import adapter
from k2_feeds.parsing.frames import parse
from k2_market.kinds import Kind
from tests.frames import bronze_rows, frame_table

# Later than any of the messages.
RECEIVED = 1_800_000_000_000_000

EXCHANGES = {
    "BINANCE_US": "binance",
    "BINANCE_TR": "binance",
    "BINANCE_FUTURES": "binance_usdm",
    "BINANCE_DELIVERY": "binance_coinm",
}
# What each message is, in the order of the file. t: trades; b: a trade that breaks a rule;
# q: quotes; c: control (acknowledgement, refusal, heartbeat, pong); o: a channel that is not kept
# (klines, depth, mark prices, REST snapshots); m: malformed; u: nothing that this feed sends, such
# as Kraken's version 1 and its futures.
ODD = {
    "whole sessions": "ooooooo ccccccccccccc ttc cc",
    "fixtures of parsers: Binance": "ttt oooooooooo qqq oooo u ooooooo u",
    "fixtures of parsers: Kraken, Bitstamp, Coinbase": "uuuuuuuuu q toq uc",
    "fixtures of parsers: several": "c c ct tbt",
    "fixtures of adapters": "qoooo oo cccco uuuuuu oooc c",
}
KRAKEN_REAL = "ccc tttt"
KRAKEN_BROKEN = "ooo cc qt c c c m bbbb"


def kind_of(exchange: str, payload: bytes) -> str:
    """The letter of a message, by what its adapter and the parser of trades say of it."""
    parsed = parse(exchange, Kind.TRADES, bronze_rows(frame_table([(payload, RECEIVED)])))
    told = (bool(len(parsed.rows)), parsed.control, parsed.other, bool(len(parsed.rejected)))
    assert sum(map(int, told)) == 1, "a message is one thing"
    channel = adapter(exchange).classify(payload).channel
    if told[3]:
        [reason] = parsed.rejected["reason"].to_pylist()
        assert (channel is Channel.UNKNOWN) >= (reason == "unknown_frame")
        return {"malformed_json": "m", "unknown_frame": "u"}.get(reason, "b")
    assert told[0] == (channel is Channel.TRADES and not parsed.control)
    return "c" if parsed.control else channel.value[0]


def letters(text: str) -> str:
    return text.replace(" ", "")


@pytest.mark.data
def test_all_99_odd_messages_are_what_they_are(shared_data: Path) -> None:
    lines = (shared_data / "odd_messages.jsonl").read_text().splitlines()
    messages = [json.loads(line) for line in lines]
    found = [
        kind_of(EXCHANGES.get(m["venue"], m["venue"].lower()), m["raw"].encode()) for m in messages
    ]
    assert len(messages) == 99
    assert "".join(found) == letters("".join(ODD.values()))


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "kinds"),
    [("real_frames.jsonl", KRAKEN_REAL), ("doc_and_malformed_frames.jsonl", KRAKEN_BROKEN)],
)
def test_all_frames_of_krakens_second_version_are_what_they_are(
    shared_data: Path, file: str, kinds: str
) -> None:
    lines = (shared_data / "kraken_v2" / file).read_text().splitlines()
    found = [kind_of("kraken", json.loads(line)["raw"].encode()) for line in lines]
    assert "".join(found) == letters(kinds)
