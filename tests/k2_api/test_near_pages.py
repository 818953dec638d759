"""A page is looked for near where it begins, however unevenly an instrument trades."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_api.questions.parameters import RangeParameters
from k2_api.reading.asked import ask
from k2_api.reading.datasets import TRADES
from k2_api.reading.queries import page
from k2_api.reading.reader import LakeReader
from k2_api.reading.statements import plan
from k2_api.reading.symbols import Symbols
from tests.k2_api.lake_of_trades import MIDNIGHT, Made, TradeLake
from tests.keyed import keyed

DAY_S = 86_400
# A busy minute, an hour with a few, a day without any, two busy seconds, one trade days later.
TIMES = [
    *(n * 0.5 for n in range(120)),
    *(3_600.0 + n * 400 for n in range(9)),
    *(2 * DAY_S + 40_000 + n * 0.01 for n in range(200)),
    9.0 * DAY_S,
]
ONE = {"symbol": "BTC-USDT", "exchange": "binance"}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    lake = TradeLake(tmp_path_factory.mktemp("uneven"))
    lake.add([Made(n, at) for n, at in enumerate(TIMES, 1)])
    return lake


@pytest.fixture(scope="module")
def client(uneven: TradeLake) -> Iterator[TestClient]:
    with keyed(uneven.settings) as client:
        yield client


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 400),
    order=st.sampled_from(["asc", "desc"]),
    bounds=st.lists(
        st.one_of(st.sampled_from(TIMES), st.floats(0, 10.0 * DAY_S)), min_size=2, max_size=2
    ).map(sorted),
    open_=st.sampled_from([(), ("end",), ("start",), ("start", "end")]),
)
def test_a_page_begins_with_the_first_rows_there_are(
    client: TestClient, limit: int, order: str, bounds: list[float], open_: tuple[str, ...]
) -> None:
    start, end = bounds[0], bounds[1] + 1
    said = {"start": _text(start), "end": _text(end), "order": order, "limit": str(limit), **ONE}
    if order == "asc":
        open_ = tuple(name for name in open_ if name != "start")
    answer = client.get("/v1/trades", params={k: v for k, v in said.items() if k not in open_})
    expected = [
        str(n)
        for n, at in enumerate(TIMES, 1)
        if ("start" in open_ or _micros(at) >= _micros(start))
        and ("end" in open_ or _micros(at) < _micros(end))
    ]
    expected = expected[::-1] if order == "desc" else expected
    assert [r["trade_id"] for r in answer.json()["data"]] == expected[:limit]
    assert answer.json()["meta"]["has_more"] is (len(expected) > limit)


def test_a_page_reads_the_files_near_its_beginning_alone(
    uneven: TradeLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = LakeReader(uneven.settings)
    read: list[int] = []
    monkeypatch.setattr(
        "k2_api.reading.queries.plan",
        lambda *a: read.append(len((files := plan(*a)).files)) or files,
    )
    said = RangeParameters(**ONE, start=_text(0), limit=10)
    asked = ask(reader, Symbols(reader), TRADES, said)
    assert len(page(reader, asked, 10).rows) == 10
    assert read == [1]
    assert len(plan(reader, asked).files) == 3
    reader.close()


def _micros(at: float) -> int:
    return timedelta(seconds=at) // timedelta(microseconds=1)


def _text(at: float) -> str:
    return (MIDNIGHT + timedelta(seconds=at)).isoformat()
