"""The exchanges' candles, as they are asked for and as files hold them."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from k2_feeds.klines import KLINES, ask
from k2_feeds.klines.files import read_files
from k2_market.errors import RequestRefused, UsageError
from k2_market.exchanges import EXCHANGES
from k2_market.timeframes import TIMEFRAMES

T0 = datetime(2024, 8, 8, 23, 55, tzinfo=UTC)
T0_MS = 1723161300000
MINUTE = timedelta(minutes=1)
ROW = "{at},10.50,11,10,10.75,4.25,{close},45.10,17,2.25,24.00,0"


class Answers:
    """A client that gives what a function of path and query says, and keeps what was asked."""

    def __init__(self, exchange: str, answer: Callable[[str, dict[str, object]], str]) -> None:
        self.exchange, self._answer = exchange, answer
        self.asked: list[tuple[str, dict[str, object], int]] = []

    def get(self, path: str, params: dict[str, object], *, weight: int = 1) -> bytes:
        self.asked.append((path, dict(params), weight))
        return self._answer(path, params).encode()


def asked(client: Answers, name: str = "1m", windows: int = 3, symbol: str = "BTC-USDT"):
    frame = TIMEFRAMES[name]
    return ask(client, symbol, frame, T0, T0 + windows * frame.length)  # type: ignore[arg-type]


def test_every_exchange_publishes_candles() -> None:
    assert set(KLINES) == set(EXCHANGES)


def _binance(path: str, query: dict[str, object]) -> str:
    """A kline for every minute asked for."""
    starts = range(int(str(query["startTime"])), int(str(query["endTime"])) + 1, 60_000)
    rows = [
        f'[{at},"10.50","11","10","10.75","4.25",{at + 59_999},"45.10",17,"2.25","24.00","0"]'
        for at in starts
    ]
    return f"[{','.join(rows[: int(str(query['limit']))])}]"


@pytest.mark.parametrize(
    ("exchange", "path", "weight"),
    [("binance", "/api/v3/klines", 2), ("binance_usdm", "/fapi/v1/klines", 5)],
)
def test_binance_has_nine_figures_that_ours_have_and_is_asked_a_thousand_at_a_time(
    exchange: str, path: str, weight: int
) -> None:
    client = Answers(exchange, _binance)
    found = asked(client, windows=2500)
    assert [k.window_start for k in found.klines] == [T0 + n * MINUTE for n in range(2500)]
    assert found.klines[0].figures == {
        "open": Decimal("10.50"),
        "high": Decimal(11),
        "low": Decimal(10),
        "close": Decimal("10.75"),
        "volume": Decimal("4.25"),
        "quote_volume": Decimal("45.10"),
        "trade_count": 17,
        "taker_buy_volume": Decimal("2.25"),
        "taker_buy_quote_volume": Decimal("24.00"),
    }
    assert (found.start, found.end) == (T0, T0 + 2500 * MINUTE)
    assert [(p, w) for p, _, w in client.asked] == [(path, weight)] * 3
    first = client.asked[0][1]
    assert first == {
        "symbol": "BTCUSDT",
        "interval": "1m",
        "startTime": T0_MS,
        "endTime": T0_MS + 60_000_000 - 1,
        "limit": 1000,
    }


def test_volumes_in_base_asset_are_none_of_ours() -> None:
    client = Answers("binance_coinm", _binance)
    found = asked(client, symbol="BTC-USD-PERP")
    assert set(found.klines[0].figures) == {
        *("open", "high", "low", "close", "volume", "trade_count", "taker_buy_volume")
    }
    days = asked(client, "1d", 300, "BTC-USD-PERP")
    assert days.end - days.start == timedelta(days=300)
    spans = [int(str(q["endTime"])) + 1 - int(str(q["startTime"])) for _, q, _ in client.asked[1:]]
    assert spans == [200 * 86_400_000, 100 * 86_400_000]


def _kraken(first: int) -> Callable[[str, dict[str, object]], str]:
    rows = ",".join(
        f'[{T0_MS // 1000 + 60 * n},"10.5","11.0","10.0","10.7","10.61","4.25000000",17]'
        for n in range(first, 5)
    )
    return lambda path, query: (
        f'{{"error":[],"result":{{"XXBTZUSD":[{rows}],"last":{T0_MS // 1000}}}}}'
    )


def test_kraken_tells_its_vwap_in_the_decimals_of_its_prices_and_is_asked_by_its_old_names() -> (
    None
):
    client = Answers("kraken", _kraken(0))
    found = asked(client, symbol="BTC-USD")
    assert client.asked[0][:2] == (
        "/0/public/OHLC",
        {"pair": "XBTUSD", "interval": 1, "since": T0_MS // 1000 - 1},
    )
    assert len(found.klines) == 3
    assert str(found.klines[0].figures["vwap"]) == "10.61"
    assert found.klines[0].figures["trade_count"] == 17


@pytest.mark.parametrize(("first", "reaches"), [(2, T0 + 2 * MINUTE), (4, T0 + 3 * MINUTE)])
def test_what_kraken_no_longer_keeps_is_not_missing_there(first: int, reaches: datetime) -> None:
    found = asked(Answers("kraken", _kraken(first)), symbol="BTC-USD")
    assert (found.start, found.end) == (reaches, T0 + 3 * MINUTE)


def test_kraken_says_why_it_refuses() -> None:
    client = Answers("kraken", lambda path, query: '{"error":["EQuery:Unknown asset pair"]}')
    with pytest.raises(RequestRefused, match="Unknown asset pair"):
        asked(client, symbol="BTC-USD")


def test_coinbase_answers_in_an_order_of_its_own_three_hundred_at_a_time() -> None:
    def answer(path: str, query: dict[str, object]) -> str:
        starts = range(int(str(query["start"])), int(str(query["end"])) + 1, 60)
        return f"[{','.join(f'[{at},10.0,11,10.5,10.75,4.25000001]' for at in reversed(starts))}]"

    client = Answers("coinbase", answer)
    found = asked(client, windows=301, symbol="BTC-USD")
    assert len(client.asked) == 2
    assert client.asked[0][0] == "/products/BTC-USD/candles"
    assert [k.window_start for k in found.klines] == [T0 + n * MINUTE for n in range(301)]
    assert found.klines[0].figures == {
        "low": Decimal(10),
        "high": Decimal(11),
        "open": Decimal("10.5"),
        "close": Decimal("10.75"),
        "volume": Decimal("4.25000001"),
    }
    with pytest.raises(UsageError, match="no candles of 30m"):
        asked(client, "30m", symbol="BTC-USD")


def test_bitstamps_candles_are_objects_of_texts() -> None:
    candle = (
        f'{{"timestamp":"{T0_MS // 1000}","open":"10.5","high":"11","low":"10","close":"10.7",'
        '"volume":"4.25"}'
    )
    client = Answers("bitstamp", lambda path, query: f'{{"data":{{"ohlc":[{candle}]}}}}')
    found = asked(client, symbol="BTC-USD")
    assert client.asked[0][0] == "/api/v2/ohlc/btcusd/"
    assert found.klines[0].figures["close"] == Decimal("10.7")
    assert found.klines[0].window_start == T0


@pytest.mark.parametrize("exchange", KLINES)
@pytest.mark.parametrize(
    "body", ["", "{}", "[[1]]", '{"error":[],"result":{}}', '[["x"]]', "[" * 5000, '{"data":1}']
)
def test_an_answer_that_is_no_candles_is_refused(exchange: str, body: str) -> None:
    symbol = EXCHANGES[exchange].example
    with pytest.raises(RequestRefused, match="no candles"):
        asked(Answers(exchange, lambda path, query: body), symbol=symbol)


def _file(folder: Path, *, header: bool, micros: bool = False, minutes: int = 3) -> Path:
    unit = 1000 if micros else 1
    rows = [
        ROW.format(at=at * unit, close=(at + 60_000) * unit - 1)
        for at in range(T0_MS, T0_MS + 60_000 * minutes, 60_000)
    ]
    path = folder / "BTCUSDT-1m-2024-08-08.csv"
    path.write_text("\n".join([*(["open_time,open,high"] if header else []), *rows, ""]))
    return path


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("micros", [True, False])
def test_files_of_spot_and_futures_are_read_in_milliseconds_and_microseconds(
    tmp_path: Path, header: bool, micros: bool
) -> None:
    path = _file(tmp_path, header=header, micros=micros)
    [file] = read_files([path], "binance")
    assert file.frame.name == "1m"
    assert [k.window_start for k in file.published.klines] == [T0 + n * MINUTE for n in range(3)]
    assert file.published.klines[0].figures["quote_volume"] == Decimal("45.10")
    assert (file.published.start, file.published.end) == (T0, T0 + 3 * MINUTE)
    zipped, gzipped = tmp_path / "BTCUSDT-1m-2024-08-08.zip", tmp_path / "other.csv.gz"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.write(path, path.name)
    gzipped.write_bytes(gzip.compress(path.read_bytes()))
    for other in read_files([zipped, gzipped], "binance"):
        assert other.published.klines == file.published.klines


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", r"BTCUSDT-1m-2024-08-08.csv, line 4 is no kline of Binance"),
        ("1,2,3", "12 values, not 3"),
        (ROW.format(at=T0_MS, close=T0_MS + 179_999), "windows of 0:01:00, 0:03:00"),
        (ROW.replace("10.50", "NaN").format(at=1, close=60_000), "open is NaN"),
    ],
)
def test_a_line_that_is_no_kline_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = _file(tmp_path, header=False)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UsageError, match=message):
        read_files([path], "binance")


def test_files_are_read_for_binance_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="for Binance alone"):
        read_files([_file(tmp_path, header=False)], "kraken")
