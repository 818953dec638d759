"""The API as of a past state: its answers never change, whatever happens to the tables."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_lake.commit import commit
from k2_lake.gold import merge
from k2_lake.history import Mode, lineage
from k2_lake.scan import planned
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.kinds import Kind
from k2_market.records import TRADE
from tests.k2_api.lake_of_trades import MIDNIGHT, Made, TradeLake, many
from tests.keyed import keyed

URLS = ("/v1/trades", "/v1/ohlcv/1m", "/v1/ohlcv/1d?exchange=binance", "/v1/trades?symbol=BTCUSDT")


def rows(client: TestClient, url: str, **more: object) -> dict[str, Any]:
    answer = client.get(url, params={k: str(v) for k, v in more.items()})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def pages(client: TestClient, url: str, between: Callable[[], None], **more: object) -> list[Any]:
    """All rows, two at a time; between the pages something happens to the tables."""
    found, cursor = [], {}
    while True:
        page = rows(client, url, limit=2, **more, **cursor)
        found += page["data"]
        if not page["meta"]["has_more"]:
            return found
        cursor = {"cursor": page["meta"]["next_cursor"]}
        between()


def add_late(lake: TradeLake, n: int) -> None:
    lake.add([Made(10_000 + n, 30.0 + n, price="77.5")])


def add_elsewhere(lake: TradeLake, n: int) -> None:
    lake.add([Made(20_000 + n, 86_400 * 3 + n, exchange="kraken", own="XBT/USD", symbol="BTC-USD")])


def recompute(lake: TradeLake, n: int) -> None:
    merge(lake.lake, lake.engine, Kind.TRADES, MIDNIGHT.date(), recompute=True)


def compact(lake: TradeLake, n: int) -> None:
    table = lake.lake.table(TRADES_TABLE)
    old = planned(table, TRADE.schema)
    together = lake.engine.query("select * from files", {"files": old}, TRADE.schema)
    commit(table, add=[together], remove=old.files, mode=Mode.MAINTENANCE, days=())


EVENTS = [add_late, add_elsewhere, recompute, compact]


@settings(max_examples=6, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=4))
def test_a_pinned_answer_never_changes(events: list[Callable[[TradeLake, int], None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = TradeLake(Path(folder))
        lake.add(many(6))
        with keyed(lake.settings) as client:
            pins: dict[str, list[str]] = {}
            for url in URLS:
                snapshot = rows(client, url)["meta"]["snapshot_id"]
                name = TRADES_TABLE if "trades" in url else candle_name(url.split("/")[-1][:2])
                table = lake.lake.table(name)
                if "first" not in table.metadata.refs:
                    table.manage_snapshots().create_tag(int(snapshot), "first").commit()
                pins[url] = [snapshot, "first"]
            now = datetime.now(UTC).isoformat()
            pinned = {
                (url, a): rows(client, url, as_of=a) for url in URLS for a in (*pins[url], now)
            }
            for n, event in enumerate(events):
                event(lake, n)
                for (url, as_of), answer in pinned.items():
                    assert rows(client, url, as_of=as_of) == answer
                    assert answer["meta"]["snapshot_id"] == pins[url][0]


def test_pages_of_a_pinned_question_are_of_one_snapshot(growing: TradeLake) -> None:
    with keyed(growing.settings) as client:
        first = rows(client, "/v1/trades", as_of=datetime.now(UTC).isoformat())
        numbers = iter(range(100))
        walked = pages(
            client,
            "/v1/trades",
            lambda: add_late(growing, next(numbers)),
            as_of=first["meta"]["snapshot_id"],
        )
        assert walked == first["data"]
        assert len(rows(client, "/v1/trades")["data"]) > len(walked)


def test_a_tag_that_moves_moves_no_page(growing: TradeLake) -> None:
    with keyed(growing.settings) as client:
        gold = growing.lake.table(TRADES_TABLE)
        gold.manage_snapshots().create_tag(lineage(gold)[0].snapshot_id, "mine").commit()
        before = rows(client, "/v1/trades", as_of="mine")["data"]
        page = rows(client, "/v1/trades", as_of="mine", limit=5)
        add_late(growing, 1)
        gold = growing.lake.table(TRADES_TABLE)
        gold.manage_snapshots().remove_tag("mine").commit()
        gold.refresh()
        gold.manage_snapshots().create_tag(lineage(gold)[0].snapshot_id, "mine").commit()
        cursor = page["meta"]["next_cursor"]
        rest = rows(client, "/v1/trades", as_of="mine", cursor=cursor)
        assert page["data"] + rest["data"] == before
        assert rest["meta"]["snapshot_id"] == page["meta"]["snapshot_id"]
        moved = client.get("/v1/trades", params={"cursor": cursor})
        assert (moved.status_code, moved.json()["code"]) == (422, "invalid_parameter")


@pytest.mark.parametrize(
    ("as_of", "status", "code"),
    [
        ("5", 404, "unknown_snapshot"),
        ("nothing", 404, "unknown_tag"),
        ("2990-01-01", 422, "invalid_parameter"),
        ("2024-08-08T00:00:00", 422, "invalid_parameter"),
        ("' or 1=1", 422, "invalid_parameter"),
    ],
)
@pytest.mark.parametrize("url", ["/v1/trades", "/v1/ohlcv/1d"])
def test_what_is_not_kept_is_a_problem_with_the_next_step(
    client: TestClient, url: str, as_of: str, status: int, code: str
) -> None:
    answer = client.get(url, params={"as_of": as_of})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "k2 lake" in answer.json()["detail"] or status == 422


def test_before_the_first_snapshot_there_was_nothing(client: TestClient) -> None:
    for url in ("/v1/trades", "/v1/ohlcv/1d", "/v1/instruments"):
        found = rows(client, url, as_of="2020-01-01")
        assert (found["data"], found["meta"]["snapshot_id"]) == ([], None)


def test_a_candles_symbol_may_be_written_as_the_exchange_does(client: TestClient) -> None:
    newest = rows(client, "/v1/ohlcv/1d", symbol="BTCUSDT")
    pinned = rows(client, "/v1/ohlcv/1d", symbol="BTCUSDT", as_of=newest["meta"]["snapshot_id"])
    assert pinned["data"] == newest["data"]
    # Nothing is fresher than a past state, and nothing is said of it.
    assert (newest["meta"].pop("freshness")["tail"], pinned["meta"].pop("freshness")) == (
        "off",
        None,
    )
    assert pinned["meta"] == newest["meta"]
    unknown = client.get("/v1/ohlcv/1d", params={"symbol": "NO-SUCH", "as_of": "2025-01-01"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_symbol")
