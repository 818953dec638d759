"""Numbers and times that are too large, too small, the wrong way round or none at all."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.k2_api.hostile.places import GOOD, OK, operations, problem_with, rows

NO_TIMES = [
    "",
    " ",
    "NaN",
    "nan",
    "inf",
    "-inf",
    "0",
    "-1",
    "1723075200",
    "1e309",
    "99999999999999999999999999999",
    "10000-01-01",
    "-2024-08-08",
    "0000-00-00",
    "2024-02-30",
    "2024-13-01",
    "2024-08-08T24:00:01Z",
    "2024-08-08T00:60:00Z",
    "2024-08-08T00:00:61Z",
    "2024-08-08T00:00:00",
    "2024-08-08T00:00:00+25:00",
    "2024-08-08T00:00:00Z" + "0" * 100,
    "\uff12\uff10\uff12\uff14-08-08",
    "now",
    "yesterday",
    "[2024-08-08]",
    "null",
    "true",
]
OUT_OF_ALL_YEARS = [
    "1900-01-01",
    "3000-01-01",
    "0001-01-01",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999Z",
]
NO_LIMITS = [
    "0",
    "-1",
    "10001",
    "1e3",
    "1.5",
    "NaN",
    "inf",
    "",
    "\u0663",
    "9" * 30,
    "9" * 5_000,
    "null",
]


@pytest.mark.parametrize("name", ["start", "end", "at"])
def test_what_is_no_time_is_refused_wherever_one_is_asked(client: TestClient, name: str) -> None:
    wrong = {
        f"{operation} {text}": found
        for operation in operations(client)
        if operation.has(name)
        for text in (*NO_TIMES, *OUT_OF_ALL_YEARS)
        if (found := problem_with(operation.ask(client, "query", name, text), 422))
    }
    assert not wrong


def test_a_range_that_ends_before_it_begins_is_refused(client: TestClient) -> None:
    wrong = {}
    for operation in operations(client):
        if not operation.has("start"):
            continue
        for start, end in (
            ("2024-08-09", "2024-08-08"),
            ("2024-08-08", "2024-08-08"),
            ("2024-08-08T02:00:00+02:00", "2024-08-08T00:00:00Z"),
            ("2199-01-01", "1900-01-01"),
        ):
            response = client.get(
                operation.url(), params={**operation.required, "start": start, "end": end}
            )
            if found := problem_with(response, 422):
                wrong[f"{operation} {start} {end}"] = found
    assert not wrong


def test_a_range_in_which_nothing_is_has_no_rows(client: TestClient) -> None:
    wrong = {}
    for operation in operations(client):
        if not operation.has("start"):
            continue
        for start, end in (("1970-01-01", "1970-01-02"), ("2199-01-01", "2199-01-02")):
            response = client.get(
                operation.url(), params={**operation.required, "start": start, "end": end}
            )
            if response.status_code != OK or rows(response):
                wrong[f"{operation} {start}"] = f"{response.status_code} {response.text[:200]}"
    assert not wrong


def test_the_widest_range_there_is_is_answered_or_too_large(client: TestClient) -> None:
    wrong = {}
    for operation in operations(client):
        if not operation.has("start"):
            continue
        asked = {**operation.required, "start": "1970-01-01", "end": "2999-12-31"}
        response = client.get(operation.url(), params=asked)
        if response.status_code != OK and (found := problem_with(response, 413, 422)):
            wrong[str(operation)] = found
    assert not wrong


def test_what_is_no_limit_is_refused_wherever_one_is_asked(client: TestClient) -> None:
    wrong = {
        f"{operation} {text[:40]}": found
        for operation in operations(client)
        if operation.has("limit")
        for text in NO_LIMITS
        if (found := problem_with(operation.ask(client, "query", "limit", text), 422))
    }
    assert not wrong


NO_TIMEFRAMES = [
    "0m",
    "-1m",
    "00m",
    "1.5m",
    "m",
    "1",
    "1y",
    "1s",
    "NaN",
    "9" * 40 + "m",
    "1mm",
    "\u0661m",
]


def test_what_is_no_timeframe_is_refused(client: TestClient) -> None:
    wrong = {
        f"{operation} {text[:20]}": found
        for operation in operations(client)
        if ("path", "timeframe") in operation.parameters
        for text in NO_TIMEFRAMES
        if (found := problem_with(operation.ask(client, "path", "timeframe", text), 404, 413, 422))
    }
    assert not wrong


def test_more_names_or_longer_ones_than_any_question_needs_are_refused(client: TestClient) -> None:
    many = ",".join(f"A{n}-USDT" for n in range(51))
    wrong = {}
    for operation in operations(client):
        for name in ("symbol", "exchange", "fields"):
            if not operation.has(name):
                continue
            for text in (many, "x" * 5_000, ",", f"{GOOD['symbol']},"):
                response = operation.ask(client, "query", name, text)
                if response.status_code == OK and not rows(response):
                    continue  # instruments take one name: with a comma it is another one
                if found := problem_with(response, 404, 422):
                    wrong[f"{operation} {name} {text[:10]}"] = found
    assert not wrong


def test_an_address_of_sixty_thousand_letters_is_refused(client: TestClient) -> None:
    response = client.get("/v1/trades", params={"symbol": "x" * 60_000})
    assert problem_with(response, 414) is None
