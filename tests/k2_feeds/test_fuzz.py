"""Whatever bytes come from an exchange or a file: nothing raises, and no frame is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from k2_feeds.adapter import Channel
from k2_feeds.adapters import ADAPTERS, adapter
from k2_feeds.archives.envelope import END, Head, encode_head
from k2_feeds.archives.layouts import LAYOUTS
from k2_feeds.parsing.frames import Parsed, parse
from k2_feeds.tapes import read_tape
from tests.frames import bronze_rows, frame_table
from tests.k2_feeds.test_parsing import QUOTES, RECEIVED, USUAL, assert_none_is_lost
from tests.mutations import mutated
from tests.needs import shared_data_folder

FRAMES_PER_EXCHANGE = 100_000
BATCH = 1_000

CONTROL = {
    "binance": [
        b'{"result":null,"id":1}',
        b'{"error":{"code":2,"msg":"Invalid request"},"id":2}',
        b'{"e":"serverShutdown","E":1770123456789}',
    ],
    "kraken": [
        b'{"method":"subscribe","result":{"channel":"trade","symbol":"BTC/USD"},"success":true}',
        b'{"method":"subscribe","success":false,"error":"Currency pair not supported X/Y"}',
        b'{"channel":"status","type":"update","data":[{"connection_id":15564437896659189083}]}',
    ],
    "coinbase": [
        b'{"type":"subscriptions","channels":[{"name":"matches","product_ids":["BTC-USD"]}]}',
        b'{"type":"error","message":"Failed to subscribe","reason":"X is not a valid product"}',
    ],
    "bitstamp": [
        b'{"event":"bts:subscription_succeeded","channel":"live_trades_btcusd","data":{}}',
        b'{"event":"bts:error","channel":"","data":{"code":null,"message":"Bad channel."}}',
    ],
}
TAPES = {
    "binance": ["binance_spot/btcusdt_20240808.gz", "sessions/cryptofeed_BINANCE.ws.1.0.jsonl.gz"],
    "binance_usdm": [
        "binance_usdm/usdm_btcusdt_20240808.gz",
        "sessions/cryptofeed_BINANCE_FUTURES.ws.1.0.jsonl.gz",
    ],
    "kraken": [
        "kraken_v2/real_frames.jsonl",
        "kraken_v2/doc_and_malformed_frames.jsonl",
        "sessions/cryptofeed_KRAKEN.ws.48.0.jsonl.gz",
    ],
}
TAKEN_OF_A_TAPE = 2_000
TAKEN = {
    "rows", "control", "malformed_json", "unknown_frame", "wrong_type", "missing_field",
    "bad_decimal", "unknown_archive", "wrong_cells", "wrong_value",
    "other_kind",
}  # fmt: skip


def family(exchange: str) -> str:
    return exchange.partition("_")[0]


def by_hand(exchange: str) -> list[bytes]:
    """Frames in the shape of the exchange's public message formats."""
    return USUAL[exchange] + QUOTES[exchange] + CONTROL[family(exchange)]


def recorded(exchange: str) -> list[bytes]:
    """Frames that the exchange sent, where recordings are there."""
    folder = shared_data_folder()
    if folder is None:
        return []
    odd = map(json.loads, (folder / "odd_messages.jsonl").read_text().splitlines())
    found = [m["raw"].encode() for m in odd if m["venue"].startswith(family(exchange).upper())]
    for name in TAPES.get(exchange, ()):
        found += islice(_frames(folder / name), TAKEN_OF_A_TAPE)
    return found


def _frames(path: Path) -> list[bytes]:
    return [frame.payload for batch in read_tape(path, RECEIVED) for frame in batch]


def archived(exchange: str) -> list[bytes]:
    """Rows of files as they stand in the raw topic."""
    found = []
    for layout in LAYOUTS.values():
        columns = layout.headerless.get(exchange) or tuple(sorted(layout.required))
        head = encode_head(Head(layout.name, "file.csv", "BTCUSDT", columns))
        cells = [_CELLS.get(name, "1") for name in columns]
        text = json.dumps(cells) if layout.counted == "trade" else ",".join(cells)
        found.append(head + text.encode())
    return found


_CELLS = {
    "price": "61837.63",
    "qty": "0.02",
    "quantity": "0.02",
    "volume": "0.02",
    "time": "1723161255",
    "transact_time": "1723161255342",
    "timestamp": "1723161255",
    "exchange_timestamp": "2024-08-08T00:00:00Z",
    "is_buyer_maker": "true",
    "symbol": "BTCUSDT",
    "side": "b",
}


def frames_of(payloads: Sequence[bytes], archived_after: int) -> pa.Table:
    """Bronze rows; those from ``archived_after`` on came out of files."""
    frames = bronze_rows(frame_table([(p, RECEIVED) for p in payloads]))
    origin = ["live"] * archived_after + ["archive"] * (len(payloads) - archived_after)
    at = frames.schema.get_field_index("origin")
    return frames.set_column(at, frames.schema.field("origin"), pa.array(origin, pa.string()))


def mutated_row(random: Random, corpus: Sequence[bytes]) -> bytes:
    """A row of a file gone wrong, mostly behind the head that K2 wrote."""
    if random.random() < 0.2:
        return mutated(random, corpus)
    head, end, row = random.choice(corpus).partition(END)
    return head + end + mutated(random, [row])


def assert_read(exchange: str, payloads: Sequence[bytes], archived_after: int) -> list[Parsed]:
    """All that reads a frame takes these; as each kind, every one is told of once."""
    venue = adapter(exchange)
    for payload in payloads[:archived_after]:
        assert venue.classify(payload).channel in Channel
        venue.answers(payload)
        venue.announces_close(payload)
    frames = frames_of(payloads, archived_after)
    parsed = {kind: parse(exchange, kind, frames) for kind in venue.parsers}
    for kind, of_kind in parsed.items():
        assert_none_is_lost(of_kind, len(payloads), kind)
    return list(parsed.values())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("exchange", ADAPTERS)
def test_a_hundred_thousand_mutated_frames_are_read_without_an_exception(exchange: str) -> None:
    live = by_hand(exchange) + recorded(exchange)
    files = archived(exchange)
    count: Counter[str] = Counter()

    # A failing seed is told; smaller seeds are no simpler, so nothing is gained by shrinking.
    @settings(
        max_examples=FRAMES_PER_EXCHANGE // BATCH,
        deadline=None,
        phases=[Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.integers(0, 2**64 - 1))
    def check(seed: int) -> None:
        random = Random(seed)
        rows = random.randint(0, BATCH // 10)
        payloads = [mutated(random, live) for _ in range(BATCH - rows)]
        payloads += [mutated_row(random, files) for _ in range(rows)]
        count.update(frames=len(payloads))
        for parsed in assert_read(exchange, payloads, BATCH - rows):
            count.update(parsed.rejected["reason"].to_pylist())
            count.update(rows=len(parsed.rows), control=parsed.control)

    check()
    assert count["frames"] >= FRAMES_PER_EXCHANGE
    # Neither all broken nor all whole: every way out of the parser was taken many times.
    assert {name for name, times in count.items() if times >= 20} >= TAKEN


@pytest.mark.parametrize("exchange", ADAPTERS)
def test_any_bytes_are_read_without_an_exception(exchange: str) -> None:
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.binary(), max_size=20), st.lists(st.binary(), max_size=5))
    def check(live: list[bytes], files: list[bytes]) -> None:
        assert_read(exchange, [*live, *files], len(live))

    check()
