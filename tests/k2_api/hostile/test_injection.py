"""Texts that would do harm if they were taken for more than texts, in every place there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from k2_lake.tables import TABLES
from tests.k2_api.hostile.places import OK, operations, places, problem_with, rows
from tests.k2_api.lake_of_trades import TradeLake

ATTACKS = [
    "' or 1=1 --",
    "BTC-USDT'; drop table gold.trades; --",
    "x' union select * from read_csv('/etc/passwd') --",
    "'); copy (select 1) to '{target}'; --",
    "{rows}",
    "$exchange_0",
    "../../../../etc/passwd",
    "{{7*7}}${{7*7}}",
    "\x00",
    "\u202eBTC\ud7ff\uffff",
    "a\r\nSet-Cookie: k2=1",
    "%27%20or%201%3D1",
]
ASKED_WRONGLY = (400, 404, 406, 422)


@pytest.fixture(scope="module", autouse=True)
def _nothing_changes(lake: TradeLake, tmp_path_factory: pytest.TempPathFactory) -> object:
    """Whatever is asked here: no table gets a commit and nothing is written."""
    before = [lake.lake.table(n).metadata_location for n in TABLES]
    yield
    assert [lake.lake.table(n).metadata_location for n in TABLES] == before
    assert not list(tmp_path_factory.getbasetemp().rglob("stolen*"))


def test_every_operation_answers_a_good_question(client: TestClient) -> None:
    """Or else nothing here would say that it is the attack that is turned away."""
    answers = {str(o): o.ask(client, "header", "Accept", "*/*") for o in operations(client)}
    assert {name: a.text for name, a in answers.items() if a.status_code != OK} == {}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_text_in_a_parameter_is_a_text(
    client: TestClient, lake: TradeLake, tmp_path: Path, attack: str
) -> None:
    text = attack.replace("{target}", str(tmp_path / "stolen"))
    wrong = {
        f"{operation} {place} {name}": found
        for operation, place, name in places(client)
        if (found := _wrong(operation.ask(client, place, name, text), lake))
    }
    assert not wrong


def _wrong(response: Response, lake: TradeLake) -> str | None:
    """An attack names nothing that there is: it is refused, or nothing has that name."""
    if str(lake.settings.home) in response.text or "Traceback" in response.text:
        return f"tells too much: {response.text[:300]}"
    if "k2" in response.cookies or "root:" in response.text or "49" in response.text[:40]:
        return f"it worked: {response.text[:300]}"
    if response.status_code == OK:
        return f"200 with rows: {response.text[:300]}" if rows(response) else None
    return problem_with(response, *ASKED_WRONGLY)


HEADERS = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Content-Length",
    "Content-Type",
    "Cookie",
    "Forwarded",
    "Host",
    "If-Modified-Since",
    "If-None-Match",
    "Last-Event-ID",
    "Origin",
    "Range",
    "Referer",
    "Transfer-Encoding",
    "User-Agent",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-HTTP-Method-Override",
    "X-Original-URL",
]
IN_HEADERS = [
    *(a for a in ATTACKS if "\r" not in a and "\x00" not in a),
    "a" * 5_000,
    "9" * 5_000,
    "*/*;q=" + "9" * 400,
    "," * 2_000,
    "NaN",
]


@pytest.mark.parametrize("name", HEADERS)
def test_a_text_in_a_header_changes_no_rows(client: TestClient, name: str) -> None:
    url = "/v1/trades?symbol=BTC-USDT&start=2024-08-08&limit=1"
    expected = rows(client.get(url))
    wrong = {}
    for text in IN_HEADERS:
        response = client.get(url, headers={name.encode(): text.encode()})
        good = response.status_code == OK and rows(response) == expected
        found = None if good else problem_with(response, 400, 401, 406, 413)
        if found:
            wrong[text[:60]] = found
    assert not wrong


def test_a_parameter_that_nobody_knows_or_says_twice_is_refused(client: TestClient) -> None:
    wrong = {}
    for operation in operations(client):
        if not operation.path.startswith("/v1/"):
            continue
        unknown = operation.ask(client, "query", "\u017fymbol", "BTC-USDT")
        twice = client.request(operation.method, operation.url() + "?limit=1&limit=2&symbl=1")
        wrong |= {
            f"{operation} {what}": found
            for what, response in (("unknown", unknown), ("twice", twice))
            if (found := problem_with(response, 422))
        }
    assert not wrong


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\x1fe\xff",
        b'{"requests": []}',
        b'{"requests": [[]]}',
        b'{"requests": [{"timeframe": "1m", "limit": NaN}]}',
        b'{"requests": [{"timeframe": "1m", "limit": -1}]}',
        b'{"requests": [{"timeframe": "1m", "limit": "1"}]}',
        b'{"requests": [{"timeframe": 1e999}]}',
        b'{"requests": ' + b"[" * 20_000,
        b'{"requests": [' + b'{"timeframe":"1m"},' * 20 + b'{"timeframe":"1m"}]}',
        b'{"requests": [{"timeframe": "1m"}], "more": 1}',
        b'{"requests": [{"timeframe": "1m", "__proto__": {}}]}',
        b" " * 70_000,
    ],
)
def test_a_body_that_is_no_batch_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post(
        "/v1/ohlcv/batch", content=body, headers={"Content-Type": "application/json"}
    )
    assert problem_with(response, 413, 422) is None


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_text_in_a_body_is_a_text(client: TestClient, attack: str) -> None:
    good = {"timeframe": "1m", "symbol": "BTC-USDT", "exchange": "binance", "start": "2024-08-08"}
    for name in (*good, "end", "fields", "as_of", "cursor", "tz", "fill", "order"):
        asked = {"requests": [{**good, name: attack}]}
        response = client.post("/v1/ohlcv/batch", json=asked)
        if response.status_code == OK:
            [answer] = response.json()["data"]
            assert answer["problem"]["status"] in ASKED_WRONGLY, f"{name}: {answer}"
        else:
            assert problem_with(response, *ASKED_WRONGLY) is None, name
