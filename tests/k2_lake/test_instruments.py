from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from k2_feeds.listings import LISTINGS
from k2_feeds.simulator.dialects.listings import listing
from k2_lake.instruments import history, refresh, resolve
from k2_lake.read_sql import read_sql
from k2_lake.tables import INSTRUMENTS_TABLE
from k2_market.errors import UnknownName
from k2_market.listing import Instrument, Version
from tests.lakes import open_lake

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
KRAKEN = ("BTC-USD", "ETH-USD", "DOGE-USD", "SOL-USD")


def listed(exchange: str, *symbols: str) -> list[Instrument]:
    return list(LISTINGS[exchange].read(listing(exchange, symbols).encode()).instruments)


def test_refreshing_keeps_what_was_and_commits_only_what_changed(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    first = listed("kraken", "BTC-USD", "ETH-USD")
    assert refresh(lake, "kraken", first, AT).figures == {"current": 2, "opened": 2, "closed": 0}
    refresh(lake, "binance", listed("binance", "BTC-USDT"), AT)
    head = lake.table(INSTRUMENTS_TABLE).current_snapshot()

    unchanged = refresh(lake, "kraken", first, AT + DAY)
    assert not unchanged.changed
    assert lake.table(INSTRUMENTS_TABLE).current_snapshot() == head

    bitcoin, ether = first
    finer = replace(bitcoin, tick_size=Decimal("0.000000000000000001"))
    changed = refresh(lake, "kraken", [finer], AT + 2 * DAY)
    assert changed.figures == {"current": 1, "opened": 1, "closed": 2}
    assert history(lake, "kraken") == (
        Version(bitcoin, AT, AT + 2 * DAY),
        Version(finer, AT + 2 * DAY),
        Version(ether, AT, AT + 2 * DAY),
    )
    assert len(history(lake)) == 4
    # An old list, told again, does not rewrite the past.
    assert not refresh(lake, "kraken", first, AT + DAY).changed


def test_steps_are_exact_in_sql(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    refresh(lake, "binance_coinm", listed("binance_coinm", "BTC-USD-PERP", "ETH-USD-PERP"), AT)
    sql = (
        "select symbol, tick_size::varchar, contract_size::varchar, contract_currency, valid_to "
        "from gold.instruments order by symbol"
    )
    with read_sql(lake, sql) as result:
        rows = [tuple(r.values()) for batch in result.batches for r in batch.to_pylist()]
    assert rows == [
        ("BTC-USD-PERP", "0.100000000000000000", "100.000000000000000000", "USD", None),
        ("ETH-USD-PERP", "0.010000000000000000", "10.000000000000000000", "USD", None),
    ]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("XXBTZUSD", "BTC-USD"),
        ("xbtusd", "BTC-USD"),
        ("BTC/USD", "BTC-USD"),
        ("btcusd", "BTC-USD"),
        ("XETHZUSD", "ETH-USD"),
        ("XDGUSD", "DOGE-USD"),
        ("XDG/USD", "DOGE-USD"),
        ("SOL-USD", "SOL-USD"),
    ],
)
def test_every_name_resolves_with_and_without_a_list(
    tmp_path: Path, name: str, symbol: str
) -> None:
    lake = open_lake(tmp_path)
    assert resolve(history(lake), name) == symbol
    refresh(lake, "kraken", listed("kraken", *KRAKEN), AT)
    assert resolve(history(lake, "kraken"), name) == symbol


def test_a_name_that_only_the_exchange_knows_resolves_and_an_unknown_one_is_refused(
    tmp_path: Path,
) -> None:
    lake = open_lake(tmp_path)
    odd = replace(listed("kraken", "BTC-USD")[0], names=("BTC/USD", "GOLDENCOIN"))
    refresh(lake, "kraken", [odd], AT)
    assert resolve(history(lake), "goldencoin") == "BTC-USD"
    with pytest.raises(UnknownName, match=r"unknown symbol 'ETH-USD'. Known: BTC-USD"):
        resolve(history(lake), "ETH-USD")
