"""Every format of archives: exact values, bad rows with their lines, damaged files refused."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_feeds.archives.archive import open_archives
from k2_feeds.archives.cells import micros_of_seconds
from k2_feeds.archives.kraken_pairs import split_name
from k2_feeds.parsing import frames as parsing
from k2_market.errors import UnknownName, UsageError
from k2_market.kinds import Kind
from k2_market.records import TRADE
from tests.archives import LOADED_US, archive_frames, parsed, zipped
from tests.frames import bronze_rows

SPOT = (
    "3735683259,61837.63000000,0.02000000,1236.75260000,1723161255342,True,True\n"
    "3735683260,61837.64000000,0.00100000,61.83764000,1735689600010866,False,True\n"
)
FUTURES = (
    "id,price,qty,quote_qty,time,is_buyer_maker\n5272836291,61836.9,0.005,309.1845,"
    "1723161255342,true\n"
)
COIN_M = "id,price,qty,base_qty,time,is_buyer_maker\n77,61836.9,3,0.00485,1723161255342,false\n"
SPOT_AGGREGATED = "9,61837.63,0.30000000,100,102,1723161255342,False,True\n"
FUTURES_AGGREGATED = (
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
    "2272,61836.9,0.012,5272836291,5272836292,1723161255342,true\n"
)
TIME_AND_SALES = "1381095255,123.30000,0.10000000\n1381095255,123.30000,0.10000000\n"
REST = (
    '{"error":[],"result":{"XXBTZUSD":[["30243.40000","0.34507674",1688669597.8277369,"b","m","",'
    '61044952],["30243.30000","0.00376960",1688669598.2804112,"s","l","",61044953]],'
    '"last":"1688669598280411160"}}'
)
K2 = (
    "symbol,exchange_timestamp,price,quantity,side,sequence_number,trade_id,company_id,"
    "qualifiers,venue\n"
    'BTCUSDT,2026-01-10T10:30:00.123456Z,45.50,1000,BUY,12345,TRD001,123,,"X,Y"\n'
    "ETHUSDT,2026-01-10T10:30:01.5+01:00,3000.1,0.5,sell,12346,88,,0,\n"
)
TOLD = (
    "exchange symbol exchange_symbol trade_id source_sequence timestamp event_time price quantity"
    " currency side trade_conditions vendor_data candle_eligible trade_count"
).split()


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[misc,arg-type]


def row(**told: Any) -> dict[str, Any]:
    usual = {"event_time": None, "trade_conditions": None, "vendor_data": None, "trade_count": 1}
    return {**usual, "candle_eligible": True, **told}


def trade(exchange: str, symbol: str, written: str, number: int, **told: Any) -> dict[str, Any]:
    return row(
        **{
            "exchange": exchange,
            "symbol": symbol,
            "exchange_symbol": written,
            "currency": symbol.split("-")[1],
            "trade_id": str(number),
            "source_sequence": number,
            "timestamp": utc(2024, 8, 8, 23, 54, 15, 342_000),
            **told,
        }
    )


def spans(first: int, last: int) -> list[tuple[str, str]]:
    return [("first_trade_id", str(first)), ("last_trade_id", str(last))]


def kinds() -> list[Any]:
    spot = ("binance", "BTC-USDT", "BTCUSDT")
    futures = ("binance_usdm", "BTC-USDT", "BTCUSDT")
    coin = ("binance_coinm", "BTC-USD-PERP", "BTCUSD_PERP")
    kraken = ("kraken", "BTC-USD", "BTC/USD")
    price, cheap = Decimal("61837.63"), Decimal("61836.9")
    fill = {"price": Decimal("123.3"), "quantity": Decimal("0.1"), "side": "unknown"}
    fill |= {"timestamp": utc(2013, 10, 6, 21, 34, 15)}
    sold = {"quantity": Decimal("0.02"), "side": "sell"}
    bought = {"quantity": Decimal("0.001"), "side": "buy"}
    us = utc(2025, 1, 1, 0, 0, 0, 10_866)
    first_rest = {"price": Decimal("30243.4"), "quantity": Decimal("0.34507674"), "side": "buy"}
    second_rest = {"price": Decimal("30243.3"), "quantity": Decimal("0.0037696"), "side": "sell"}
    return [
        (
            "BTCUSDT-trades-2024-08-08.csv",
            SPOT,
            [
                trade(*spot, 3735683259, price=price, **sold),
                trade(*spot, 3735683260, price=Decimal("61837.64"), timestamp=us, **bought),
            ],
        ),
        (
            "BTCUSDT-trades-2024-08-08.csv",
            FUTURES,
            [trade(*futures, 5272836291, price=cheap, quantity=Decimal("0.005"), side="sell")],
        ),
        (
            "BTCUSDT-trades-2021-08-08.csv",
            FUTURES.partition("\n")[2],
            [trade(*futures, 5272836291, price=cheap, quantity=Decimal("0.005"), side="sell")],
        ),
        (
            "BTCUSD_PERP-trades-2024-08-08.csv",
            COIN_M,
            [trade(*coin, 77, price=cheap, quantity=Decimal(3), side="buy")],
        ),
        (
            "BTCUSDT-aggTrades-2024-08-08.csv",
            SPOT_AGGREGATED,
            [
                trade(
                    *spot,
                    102,
                    price=price,
                    quantity=Decimal("0.3"),
                    side="buy",
                    trade_id="agg:9",
                    trade_count=3,
                    vendor_data=spans(100, 102),
                )
            ],
        ),
        (
            "BTCUSDT-aggTrades-2024-08-08.csv",
            FUTURES_AGGREGATED,
            [
                trade(
                    *futures,
                    5272836292,
                    price=cheap,
                    quantity=Decimal("0.012"),
                    side="sell",
                    trade_id="agg:2272",
                    trade_count=2,
                    vendor_data=spans(5272836291, 5272836292),
                )
            ],
        ),
        (
            "XBTUSD.csv",
            TIME_AND_SALES,
            [
                trade(
                    *kraken,
                    1381095255000000 + n,
                    trade_id=f"ts:1381095255:123.30000:0.10000000:{n}",
                    **fill,
                )
                for n in range(2)
            ],
        ),
        (
            "trades.json",
            REST,
            [
                trade(
                    *kraken,
                    61044952,
                    timestamp=utc(2023, 7, 6, 18, 53, 17, 827_736),
                    vendor_data=[("ord_type", "market")],
                    **first_rest,
                ),
                trade(
                    *kraken,
                    61044953,
                    timestamp=utc(2023, 7, 6, 18, 53, 18, 280_411),
                    vendor_data=[("ord_type", "limit")],
                    **second_rest,
                ),
            ],
        ),
        (
            "exported.csv",
            K2,
            [
                trade(
                    *spot,
                    12345,
                    trade_id="TRD001",
                    timestamp=utc(2026, 1, 10, 10, 30, 0, 123_456),
                    price=Decimal("45.5"),
                    quantity=Decimal(1000),
                    side="buy",
                    vendor_data=[("company_id", "123"), ("venue", "X,Y")],
                ),
                trade(
                    "binance",
                    "ETH-USDT",
                    "ETHUSDT",
                    88,
                    timestamp=utc(2026, 1, 10, 9, 30, 1, 500_000),
                    price=Decimal("3000.1"),
                    quantity=Decimal("0.5"),
                    side="sell",
                    vendor_data=[("qualifiers", "0")],
                ),
            ],
        ),
    ]


def told(trades: pa.Table) -> list[dict[str, Any]]:
    assert trades.schema.equals(TRADE.schema)
    trades.validate(full=True)
    return trades.select(TOLD).to_pylist()


@pytest.mark.parametrize(("name", "text", "wanted"), kinds())
def test_every_cell_of_every_format_is_where_it_belongs(
    tmp_path: Path, name: str, text: str, wanted: list[dict[str, Any]]
) -> None:
    (tmp_path / name).write_text(text)
    found = parsed(wanted[0]["exchange"], tmp_path / name)
    assert told(found.rows) == [{n: w[n] for n in TOLD} for w in wanted]
    assert found.rejected.num_rows == 0


def test_an_archived_trade_in_the_topic_of_quotes_is_rejected_and_stops_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "BTCUSDT-trades-2024-08-08.csv").write_text(SPOT)
    frames = bronze_rows(archive_frames("binance", tmp_path / "BTCUSDT-trades-2024-08-08.csv"))
    found = parsing.parse("binance", Kind.QUOTES, frames)
    assert (found.rows.num_rows, found.control, found.other) == (0, 0, 0)
    assert {(r["reason"], r["kind"]) for r in found.rejected.to_pylist()} == {
        ("other_kind", "quotes")
    }
    assert found.rejected["payload"].to_pylist() == frames["payload"].to_pylist()


def test_zip_gzip_and_plain_give_the_same_rows_and_a_zip_may_hold_many(tmp_path: Path) -> None:
    plain = tmp_path / "BTCUSDT-trades-2024-08-08.csv"
    plain.write_text(SPOT)
    other = tmp_path / "ETHUSDT-trades-2024-08-08.csv"
    other.write_text(SPOT)
    packed = plain.with_name(plain.name + ".gz")
    packed.write_bytes(gzip.compress(SPOT.encode()))
    one = archive_frames("binance", plain)
    assert archive_frames("binance", packed).equals(one)
    both = archive_frames("binance", zipped(tmp_path / "two.zip", plain, other))
    assert both["payload"].to_pylist()[:2] == one["payload"].to_pylist()
    assert parsing.parse("binance", Kind.TRADES, bronze_rows(both)).rows["symbol"].to_pylist() == [
        *["BTC-USDT"] * 2,
        *["ETH-USDT"] * 2,
    ]


def test_the_row_is_kept_byte_for_byte_with_its_line_and_the_files_content(tmp_path: Path) -> None:
    for name in ("BTCUSDT-trades-a.csv", "BTCUSDT-trades-b.csv"):
        (tmp_path / name).write_bytes(FUTURES.replace("\n", "\r\n").encode())
    a, b = (archive_frames("binance_usdm", p) for p in sorted(tmp_path.iterdir()))
    (payload,) = a["payload"].to_pylist()
    assert payload.partition(b"\n")[2] == FUTURES.splitlines()[1].encode()
    assert a["sequence"].to_pylist() == [2]
    assert a["connection_id"].equals(b["connection_id"])
    assert [set(t["origin"].to_pylist()) for t in (a, b)] == [{"archive"}] * 2


BAD = [
    ("x,1,1,1,1723161255342,True,True", "wrong_value", "the id is no whole number"),
    ("1,2", "wrong_cells", "7 cells expected, found 2"),
    ("5,-1,1,1,1723161255342,True,True", "price_not_positive", "'-1.00000000'"),
    ("6,1.123456789,1,1,1723161255342,True,True", "bad_decimal", "'1.123456789'"),
    ("7,1,1,1,1723161255342,maybe,True", "wrong_value", "is_buyer_maker is not true or false"),
    ("8,1,1,1,9999999999999999999,True,True", "wrong_value", "the time is no whole number"),
    ("9,1,1,1,1,True,True", "time_too_early", "1970-01-01"),
    ('10,"1,1,1,1,True,True', "malformed_row", "unexpected end of data"),
    ("11,1,0.0,1,1723161255342,True,True", "quantity_not_positive", "'0.00000000'"),
]


@pytest.mark.parametrize(("line", "reason", "detail"), BAD)
def test_a_bad_row_is_rejected_with_its_line_and_its_neighbours_are_untouched(
    tmp_path: Path, line: str, reason: str, detail: str
) -> None:
    path = tmp_path / "BTCUSDT-trades-2024-08-08.csv"
    first, second = SPOT.splitlines()
    path.write_text("\n".join([first, line, "", second]))
    found = parsed("binance", path)
    (rejected,) = found.rejected.to_pylist()
    assert rejected["reason"] == reason
    assert rejected["detail"].startswith(f"line 2 of {path.name}: ")
    assert detail in rejected["detail"]
    assert rejected["payload"].endswith(line.encode())
    assert found.rows["trade_id"].to_pylist() == ["3735683259", "3735683260"]


def test_bytes_that_are_no_text_are_a_rejected_row(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades-2024-08-08.csv"
    path.write_bytes(SPOT.encode() + b"\xff\xfe,\n")
    (rejected,) = parsed("binance", path).rejected.to_pylist()
    assert (rejected["reason"], rejected["detail"][:7]) == ("malformed_row", "line 3 ")


def test_a_checksum_that_does_not_match_refuses_the_file(tmp_path: Path) -> None:
    plain = tmp_path / "BTCUSDT-trades-2024-08-08.csv"
    plain.write_text(SPOT)
    good = zipped(tmp_path / "good.zip", plain)
    bad = zipped(tmp_path / "bad.zip", plain, checksum="0" * 64)
    assert len(open_archives("binance", Kind.TRADES, good)) == 1
    with pytest.raises(UsageError, match=r"SHA-256 .* but bad.zip.CHECKSUM says 000"):
        open_archives("binance", Kind.TRADES, bad)


@pytest.mark.parametrize("packed", ["zip", "gz"])
def test_a_truncated_file_yields_no_row_at_all(tmp_path: Path, packed: str) -> None:
    plain = tmp_path / "BTCUSDT-trades-2024-08-08.csv"
    plain.write_text(SPOT * 1000)
    path = plain.with_suffix(f".{packed}")
    whole = (
        gzip.compress(plain.read_bytes())
        if packed == "gz"
        else zipped(tmp_path / "whole", plain).read_bytes()
    )
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="is damaged and cannot be read to its end"):
        open_archives("binance", Kind.TRADES, path)


@pytest.mark.parametrize(
    ("exchange", "name", "text", "told"),
    [
        ("binance", "BTCUSDT.csv", "", "is empty"),
        (
            "binance",
            "BTCUSDT.csv",
            "hello,world\n",
            "formats known of trades of binance",
        ),
        ("kraken", "BTCUSDT.csv", SPOT, "none of the formats known of trades of kraken"),
        ("binance", "day.csv", SPOT, "--symbol BTC-USDT"),
        ("kraken", "t.json", '{"error":["EGeneral:Too many requests"]}', "Too many requests"),
        ("kraken", "XBTUSD.csv", "2,1,1\n1,1,1\n", "line 2 of archive 'XBTUSD.csv' is of 1"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why(
    tmp_path: Path, exchange: str, name: str, text: str, told: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=told):
        archive_frames(exchange, tmp_path / name)


def test_an_exchange_that_is_unknown_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown exchange 'mtgox'"):
        open_archives("mtgox", Kind.TRADES, tmp_path / "x")


@pytest.mark.parametrize("symbol", ["BTC-USDT", "BTCUSDT", "btcusdt"])
def test_the_symbol_given_goes_before_the_files_name(tmp_path: Path, symbol: str) -> None:
    (tmp_path / "ETHUSDT-x.csv").write_text(SPOT)
    found = parsed("binance", tmp_path / "ETHUSDT-x.csv", symbol).rows
    assert set(found["symbol"].to_pylist()) == {"BTC-USDT"}


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("XBTUSD", "XBT/USD"),
        ("XXBTZUSD", "XBT/USD"),
        ("XETHXXBT", "ETH/XBT"),
        ("USDTUSD", "USDT/USD"),
        ("BATUSD", "BAT/USD"),
        ("XBTPYUSD", "XBT/PYUSD"),
        ("ethusdt", "ETH/USDT"),
        ("BTC/USD", "BTC/USD"),
        ("what", "what"),
    ],
)
def test_krakens_older_names_resolve(name: str, pair: str) -> None:
    assert split_name(name) == pair


def test_rest_answers_may_stand_line_by_line_and_a_bad_one_is_a_rejected_row(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pages.jsonl"
    without_id = REST.replace(",61044953]", "]").replace("61044952", "61044954")
    path.write_text(f"{REST}\nnot json\n{without_id}\n")
    found = parsed("kraken", path)
    assert found.rows["trade_id"].to_pylist() == ["61044952", "61044953", "61044954"]
    assert [r["reason"] for r in found.rejected.to_pylist()] == ["malformed_row", "wrong_cells"]
    assert "trade 3 of pages.jsonl" in found.rejected["detail"][0].as_py()


def test_equal_fills_without_ids_stay_as_many_as_they_are_wherever_the_file_is_cut(
    tmp_path: Path,
) -> None:
    lines = [f"{1381095255 + i // 4},{1 + i % 2},0.5" for i in range(40)]
    for name, part in (("whole", lines), ("first", lines[:24]), ("second", lines[20:])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "XBTUSD.csv").write_text("\n".join(part))
    ids = {
        name: parsed("kraken", tmp_path / name / "XBTUSD.csv").rows["trade_id"].to_pylist()
        for name in ("whole", "first", "second")
    }
    assert len(set(ids["whole"])) == 40
    assert set(ids["first"]) | set(ids["second"]) == set(ids["whole"])
    assert len(set(ids["first"]) & set(ids["second"])) == 4


@given(st.integers(0, 10**11 - 1), st.text("0123456789", max_size=12))
def test_seconds_are_cut_to_microseconds(whole: int, part: str) -> None:
    text = f"{whole}.{part}" if part else str(whole)
    assert micros_of_seconds(text) == int(Decimal(text) * 1_000_000)


@given(st.binary(max_size=60))
def test_no_bytes_make_the_parser_raise(payload: bytes) -> None:
    head = (
        b'{"archive":"kraken.rest_trades","file":"t","symbol":"","columns":["price","volume",'
        b'"time","side","ordertype","misc","trade_id"]}\n'
    )
    for whole in (payload, head + payload, b'{"archive":"?"}\n' + payload):
        table = bronze_rows(archived(whole))
        found = parsing.parse("kraken", Kind.TRADES, table)
        assert found.rejected.num_rows == 1


def archived(payload: bytes) -> pa.Table:
    from tests.frames import frame_table

    table = frame_table([(payload, LOADED_US)], exchange="kraken")
    at = table.schema.get_field_index("origin")
    return table.set_column(at, table.schema.field(at), pa.array(["archive"], pa.string()))
