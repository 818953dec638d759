"""A question asked again is answered from memory, until something has changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from k2_api.answers import repeats
from k2_api.guard.keys import create_key
from k2_api.reading.reader import LakeReader
from tests.k2_api.lake_of_trades import Made, TradeLake
from tests.keyed import keyed

URL = "/v1/trades?start=2024-08-08&limit=5"


class Asked:
    """Counts how often the tables are read."""

    def __init__(self) -> None:
        self.times = 0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    counted, run = Asked(), LakeReader.run

    def counting(*args: Any) -> Any:
        counted.times += 1
        return run(*args)

    monkeypatch.setattr(LakeReader, "run", counting)
    monkeypatch.setattr(repeats, "MOST_AGE_S", 60.0)
    return counted


@pytest.fixture
def alone(filled: TradeLake) -> Iterator[TestClient]:
    """An API of its own, so that nobody else has asked it anything."""
    with keyed(filled.settings, raise_server_exceptions=False) as client:
        yield client


def test_the_same_question_is_read_once_and_has_the_same_answer(
    alone: TestClient, asked: Asked
) -> None:
    first = alone.get(URL)
    times = asked.times
    assert times > 0
    again = alone.get(URL)
    assert asked.times == times
    assert again.json()["data"] == first.json()["data"]
    for name in ("etag", "k2-table", "k2-snapshot-id", "content-type", "vary", "cache-control"):
        assert again.headers[name] == first.headers[name]
    assert "ratelimit-remaining" in again.headers
    known = alone.get(URL, headers={"If-None-Match": first.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert asked.times == times


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (f"{URL}&order=desc", {}),
        (URL, {"Accept": "text/csv"}),
        ("/v1/quotes?start=2024-08-08", {}),
    ],
)
def test_another_question_has_its_own_answer(
    alone: TestClient, asked: Asked, url: str, headers: dict[str, str]
) -> None:
    first = alone.get(URL)
    other = alone.get(url, headers=headers)
    assert other.content != first.content
    assert alone.get(URL).content == first.content


def test_codings_are_kept_apart(alone: TestClient) -> None:
    url = "/v1/trades?start=2024-08-08"
    for coding in ("gzip", "identity", "gzip"):
        answer = alone.get(url, headers={"Accept-Encoding": coding})
        assert answer.headers.get("content-encoding", "identity") == coding
        assert len(answer.json()["data"]) > 60


def test_what_is_written_is_seen_at_once(growing: TradeLake) -> None:
    with keyed(growing.settings) as client:
        for n in range(3):
            found = client.get("/v1/trades?limit=1000").json()["data"]
            assert len(found) == len(client.get("/v1/trades?limit=1000").json()["data"]) == 20 + n
            growing.add([Made(100 + n, 2.5 + n)])


def test_a_key_that_may_not_read_gets_nothing_that_is_kept(
    alone: TestClient, filled: TradeLake
) -> None:
    assert alone.get(URL).status_code == 200
    key = create_key(filled.settings.home, "live-only", ["live"], "1000/minute")
    refused = alone.get(URL, headers={"X-API-Key": key})
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert alone.get(URL, headers={"X-API-Key": "k2_none"}).status_code == 401


def test_old_answers_and_problems_are_not_kept(
    alone: TestClient, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "MOST_AGE_S", -1.0)
    alone.get(URL)
    times = asked.times
    alone.get(URL)
    assert asked.times > times
    for _ in range(2):
        assert alone.get("/v1/trades?symbol=NONE").status_code == 404


def test_memory_is_bounded_and_the_least_asked_for_goes_first(
    alone: TestClient, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.headers["Accept-Encoding"] = "identity"
    size = len(alone.get(URL).content) + 1_024
    monkeypatch.setattr(repeats, "KEPT_BYTES", 3 * size)
    for n in range(4):
        alone.get(f"{URL}&end=2024-08-{10 + n}")
    times = asked.times
    alone.get(f"{URL}&end=2024-08-13")
    assert asked.times == times
    alone.get(f"{URL}&end=2024-08-10")
    assert asked.times > times
