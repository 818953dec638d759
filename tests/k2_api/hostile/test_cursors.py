"""Cursors that were altered, forged, or belong to another question: refused on every route."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from tests.k2_api.hostile.places import Operation, operations, problem_with, rows

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PAYLOADS = [
    b"null",
    b"[]",
    b"[null,[]]",
    b'[null,["binance","BTC-USDT",0,0,"1"]]',
    b'[1e400,["binance"]]',
    b'[-9223372036854775808,["a","b",-9223372036854775808,0,"1"],1]',
    b'[99999999999999999999,["a"],99999999999999999999]',
    b"[" * 5_000,
    b'{"start":0}',
    b"\xff\xfe",
    b"",
]


def begun(client: TestClient) -> Iterator[tuple[Operation, dict[str, Any], str]]:
    """Every operation that goes on by cursor, what was asked, and the cursor."""
    for operation in operations(client):
        if operation.has("cursor") and not operation.path.endswith("/count"):
            asked: dict[str, Any] = {"limit": 1}
            if operation.has("start"):
                asked |= {"start": "2024-08-08", "end": "2024-08-12"}
            response = client.get(operation.url(), params=asked)
            if cursor := _cursor(response):
                yield operation, asked, cursor


def _cursor(response: Response) -> str | None:
    """That of the page, or of the first message."""
    if response.headers["content-type"].startswith("application/x-ndjson"):
        return str(rows(response)[0]["cursor"])
    found: str | None = response.json()["meta"]["next_cursor"]
    return found


@pytest.fixture(scope="module")
def pages(client: TestClient) -> list[tuple[Operation, dict[str, Any], str]]:
    found = list(begun(client))
    assert len(found) >= 8
    return found


def test_a_cursor_with_one_letter_altered_is_refused(
    client: TestClient, pages: list[tuple[Operation, dict[str, Any], str]]
) -> None:
    wrong = {}
    for operation, asked, cursor in pages:
        for at in range(0, len(cursor), 5):
            other = LETTERS[(LETTERS.index(cursor[at]) + 1 + at) % len(LETTERS)]
            altered = cursor[:at] + other + cursor[at + 1 :]
            response = client.get(operation.url(), params={**asked, "cursor": altered})
            if found := problem_with(response, 422):
                wrong[f"{operation} {at}"] = found
    assert not wrong


def test_a_cursor_of_another_operation_or_question_is_refused(
    client: TestClient, pages: list[tuple[Operation, dict[str, Any], str]]
) -> None:
    wrong = {}
    for operation, asked, cursor in pages:
        for other, its, _ in pages:
            if other.path != operation.path:
                response = client.get(other.url(), params={**its, "cursor": cursor})
                if found := problem_with(response, 422):
                    wrong[f"{operation} -> {other}"] = found
        elsewhere = {**asked, "exchange": "kraken", "cursor": cursor}
        if found := problem_with(client.get(operation.url(), params=elsewhere), 422):
            wrong[f"{operation} elsewhere"] = found
    assert not wrong


def test_a_forged_cursor_is_refused(
    client: TestClient, pages: list[tuple[Operation, dict[str, Any], str]]
) -> None:
    wrong = {}
    for operation, asked, cursor in pages:
        digest = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:8]
        for payload in PAYLOADS:
            forged = base64.urlsafe_b64encode(digest + payload).decode().rstrip("=")
            response = client.get(operation.url(), params={**asked, "cursor": forged})
            if found := problem_with(response, 414, 422):
                wrong[f"{operation} {payload[:20]!r}"] = found
    assert not wrong
