"""What breaks off on its way is seen to be broken, and leaves nothing behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from k2_api.answers import formats
from k2_api.app import create_app
from k2_api.reading import export, slices
from tests.api_server import serving
from tests.k2_api.lake_of_trades import MIDNIGHT, TradeLake, many
from tests.k2_api.test_export import write
from tests.keyed import fast_key

WITHIN_S = 30.0


@pytest.fixture
def lake(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> TradeLake:
    """Trades that are sent in pieces of one row each, each from a slice of its own."""
    monkeypatch.setattr(slices, "SLICE_ROWS", 1)
    monkeypatch.setattr(export, "BATCH_ROWS", 1)
    monkeypatch.setattr(formats, "LEAST", 1)
    made = TradeLake(tmp_path_factory.mktemp("broken"))
    for n in range(4):
        write(made, many(100, first=100 * n + 1, every_s=100.0))
    return made


@pytest.fixture
def stream(lake: TradeLake) -> Iterator[Callable[[str], httpx.Response]]:
    headers = {"X-API-Key": fast_key(lake.settings), "Accept-Encoding": "identity"}
    with (
        serving(create_app(lake.settings)) as address,
        httpx.Client(base_url=address, headers=headers, timeout=WITHIN_S) as client,
    ):

        def opened(wanted: str) -> httpx.Response:
            url = f"/v1/trades?start={MIDNIGHT.date()}&format={wanted}"
            return client.send(client.build_request("GET", url), stream=True)

        yield opened


def working() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("ahead")]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("wanted", ["ndjson", "csv", "arrow"])
def test_rows_that_break_off_end_without_the_end(
    lake: TradeLake, stream: Callable[[str], httpx.Response], wanted: str
) -> None:
    answer = stream(wanted)
    assert answer.status_code == 200
    pieces = answer.iter_raw()
    assert next(pieces)
    for file in (lake.settings.home / "warehouse").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(httpx.RemoteProtocolError):
        list(pieces)
    until(lambda: not working())


def test_one_who_goes_away_stops_the_work(stream: Callable[[str], httpx.Response]) -> None:
    answer = stream("ndjson")
    assert next(answer.iter_raw())
    answer.close()
    until(lambda: not working())


def test_what_fails_before_the_first_row_is_a_problem(
    lake: TradeLake, stream: Callable[[str], httpx.Response]
) -> None:
    for file in (lake.settings.home / "warehouse").rglob("*.parquet"):
        file.unlink()
    answer = stream("arrow")
    answer.read()
    assert (answer.status_code, answer.json()["code"]) == (503, "lake_unavailable")
