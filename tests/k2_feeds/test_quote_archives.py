"""Files of quotes, in the layouts that their publishers give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from k2_feeds.parsing import frames as parsing
from k2_feeds.parsing.frames import Parsed
from k2_market.errors import UsageError
from k2_market.kinds import Kind
from tests.archives import archive_frames, zipped
from tests.frames import bronze_rows
from tests.lakes import LakeDriver

BOOK_TICKER = (
    "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n"
    "4,61837.6,1.5,61837.7,0.25,1723161255342,1723161255345\n"
    "5,61837.5,2,61837.7,0.5,1723161255350,1723161255352\n"
)
K2_QUOTES = (
    "symbol,exchange_timestamp,bid_price,ask_price,bid_size,ask_size,sequence_number,venue\n"
    "BTC-USD,2024-08-08T23:54:15.342000Z,61837.5,61837.75,1.5,0.25,12345,X\n"
    "ETH-USD,2024-08-08T23:54:15.343000Z,2650.5,2650.75,10,20,12346,\n"
    "ETH-USD,yesterday,2650.5,2650.75,10,20,12347,\n"
    "ETH-USD,2024-08-08T23:54:15.343000Z,2650.5,2650.75,10,20,x,\n"
)
SHOWN = (
    "exchange_symbol", "symbol", "quote_id", "source_sequence", "bid_price", "bid_quantity",
    "ask_price", "ask_quantity",
)  # fmt: skip


def parsed(exchange: str, path: Path, kind: Kind = Kind.QUOTES) -> Parsed:
    frames = archive_frames(exchange, path, kind=kind)
    return parsing.parse(exchange, Kind.QUOTES, bronze_rows(frames))


def shown(found: Parsed) -> list[tuple[str, ...]]:
    return [tuple(str(row[name]) for name in SHOWN) for row in found.rows.to_pylist()]


@pytest.mark.parametrize("has_header", [True, False])
def test_a_dump_of_futures_best_prices_has_the_ids_and_times_of_the_stream(
    tmp_path: Path, has_header: bool
) -> None:
    file = tmp_path / "BTCUSDT-bookTicker-2024-08-08.csv"
    file.write_text(BOOK_TICKER if has_header else BOOK_TICKER.partition("\n")[2])
    found = parsed("binance_usdm", zipped(tmp_path / "BTCUSDT-bookTicker-2024-08-08.zip", file))
    assert shown(found)[0] == (
        "BTCUSDT", "BTC-USDT", "4", "4", "61837.60000000", "1.50000000", "61837.70000000",
        "0.25000000",
    )  # fmt: skip
    [first, _] = found.rows.to_pylist()
    assert first["timestamp"].isoformat() == "2024-08-08T23:54:15.342000+00:00"
    assert first["event_time"].isoformat() == "2024-08-08T23:54:15.345000+00:00"
    assert len(found.rejected) == 0


def test_the_csv_of_k2s_first_version_names_symbols_by_row_and_bad_rows_keep_their_line(
    tmp_path: Path,
) -> None:
    file = tmp_path / "quotes.csv"
    file.write_text(K2_QUOTES)
    found = parsed("coinbase", file)
    assert [row[:4] for row in shown(found)] == [
        ("BTC-USD", "BTC-USD", "12345", "12345"),
        ("ETH-USD", "ETH-USD", "12346", "12346"),
    ]
    assert found.rows["vendor_data"].to_pylist() == [[("venue", "X")], None]
    rejected = [(r["reason"], r["detail"].partition(":")[0]) for r in found.rejected.to_pylist()]
    assert rejected == [
        ("bad_time", "line 4 of quotes.csv"),
        ("wrong_value", "line 5 of quotes.csv"),
    ]


def test_a_file_of_the_other_kind_is_refused_with_the_formats_of_the_kind_asked_for(
    tmp_path: Path,
) -> None:
    file = tmp_path / "BTCUSDT-bookTicker-2024-08-08.csv"
    file.write_text(BOOK_TICKER)
    with pytest.raises(UsageError, match="none of the formats known of trades of binance_usdm"):
        archive_frames("binance_usdm", file)
    with pytest.raises(UsageError, match=r"known of quotes of binance \(k2.quotes\)"):
        archive_frames("binance", file, kind=Kind.QUOTES)


def test_rows_that_reached_the_topic_of_the_other_kind_are_rejected(tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT-bookTicker-2024-08-08.csv"
    file.write_text(BOOK_TICKER)
    frames = bronze_rows(archive_frames("binance_usdm", file, kind=Kind.QUOTES))
    found = parsing.parse("binance_usdm", Kind.TRADES, frames)
    assert [r["reason"] for r in found.rejected.to_pylist()] == ["other_kind"] * 2


def test_a_file_of_quotes_loaded_twice_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "BTCUSDT-bookTicker-2024-08-08.csv"
    file.write_text(BOOK_TICKER)
    driver = LakeDriver(tmp_path / "lake", kind=Kind.QUOTES)
    kept = []
    for _ in range(2):
        offset = driver.next_offset("binance_usdm")
        frames = archive_frames("binance_usdm", file, None, offset, Kind.QUOTES)
        driver.receive_frames(frames, "binance_usdm")
        driver.tick(["binance_usdm"])
        kept.append(driver.rows("gold.quotes"))
    assert [row["quote_id"] for row in kept[0]] == ["4", "5"]
    assert kept[1] == kept[0]
