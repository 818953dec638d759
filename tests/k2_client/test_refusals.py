"""What the client makes of answers that are none, against a real server that gives them."""

from __future__ import annotations

import logging
import socket

import pytest

import k2_client
from k2_client import (
    K2,
    BadAnswer,
    ClientError,
    Forbidden,
    InvalidKey,
    InvalidParameter,
    K2Problem,
    MissingKey,
    NoAnswer,
    Patience,
    RateLimited,
    ServerFailed,
    TimedOut,
    TooLarge,
    Unavailable,
    UnknownName,
    problems,
)
from k2_market.errors import UsageError
from tests.k2_client.scripted import KEY, Said, asking, problem, rows, scripted

SYMBOL = {
    "exchange": "kraken",
    "symbol": "BTC-USD",
    "exchange_symbol": "XBT/USD",
    "first_trade_date": "2024-08-08",
    "last_trade_date": "2024-08-09",
    "trades": 3,
}


def test_a_rate_limit_is_waited_out_as_long_as_it_says() -> None:
    slept: list[float] = []
    limited = problem(429, "rate_limited", Retry_After="7")
    with asking(limited, limited, rows(SYMBOL), slept=slept) as (k2, asked):
        assert [s.trades for s in k2.symbols()] == [3]
        assert asked.lines == ["GET /v1/symbols"] * 3
        assert [7 <= s <= 7.25 for s in slept] == [True, True]
        assert {h["X-API-Key"] for h in asked.headers} == {KEY}


def test_a_limit_longer_than_patience_is_raised_at_once_with_its_seconds() -> None:
    slept: list[float] = []
    limited = problem(429, "rate_limited", "100 a minute. Wait.", Retry_After="3600")
    with asking(limited, slept=slept) as (k2, asked):
        with pytest.raises(RateLimited, match=r"100 a minute. Wait. .429 rate_limited.") as raised:
            k2.symbols()
        assert raised.value.retry_after_s == 3600
        assert (len(asked.lines), slept) == (1, [])


def test_an_outage_is_asked_again_after_growing_random_pauses_and_not_without_end() -> None:
    slept: list[float] = []
    with asking(problem(503, "overloaded"), slept=slept) as (k2, asked):
        with pytest.raises(Unavailable, match="because"):
            k2.trades().to_list()
        assert len(asked.lines) == 6
        bounds = [0.25, 0.5, 1, 2, 4]
        assert [0 <= s <= bound for s, bound in zip(slept, bounds, strict=True)] == [True] * 5
        assert len(set(slept)) == 5


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    slept: list[float] = []
    whole = rows(SYMBOL)
    broken = Said(200, whole.body, cut=20)
    with asking(broken, broken, whole, slept=slept) as (k2, asked):
        assert len(k2.symbols()) == 1
        assert (len(asked.lines), len(slept)) == (3, 2)


def test_where_nothing_listens_the_address_and_the_next_step_are_said() -> None:
    slept: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with K2(address, patience=Patience(attempts=3), sleep=slept.append) as k2:
        with pytest.raises(NoAnswer, match=f"GET {address}/v1/symbols was not.*k2 api"):
            k2.symbols()
        assert len(slept) == 2


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "missing_key", MissingKey),
        (401, "invalid_key", InvalidKey),
        (403, "scope_missing", Forbidden),
        (404, "unknown_symbol", UnknownName),
        (404, "not_found", UnknownName),
        (413, "too_large", TooLarge),
        (414, "uri_too_long", TooLarge),
        (422, "invalid_parameter", InvalidParameter),
        (500, "internal_error", ServerFailed),
        (405, "method_not_allowed", K2Problem),
    ],
)
def test_a_refusal_is_a_typed_error_and_is_not_asked_again(
    status: int, code: str, kind: type[K2Problem]
) -> None:
    with asking(problem(status, code)) as (k2, asked):
        with pytest.raises(K2Problem) as raised:
            k2.symbols()
        error = raised.value
        assert type(error) is kind
        assert (error.status, error.code, error.detail) == (status, code, "because. Do this.")
        assert f"({status} {code})" in str(error)
        assert KEY not in str(error)
        assert isinstance(error, UsageError) is (status in (404, 422))
        assert len(asked.lines) == 1


def test_a_query_that_took_too_long_is_an_outage_of_its_own_kind() -> None:
    with (
        asking(problem(503, "timeout"), attempts=1) as (k2, _),
        pytest.raises(TimedOut, match="shorter range"),
    ):
        k2.symbols()


def test_what_a_proxy_says_is_quoted() -> None:
    said = Said(502, b"<html>bad\n gateway</html>")
    with (
        asking(said, attempts=2) as (k2, _),
        pytest.raises(Unavailable, match=r"<html>bad gateway</html> \(502 http_502\)"),
    ):
        k2.symbols()


@pytest.mark.parametrize("body", [b"<html>", b'{"data": 5}', b'{"data": [{}], "meta": {}}', b""])
def test_an_answer_that_is_not_the_apis_is_said_to_be_none(body: bytes) -> None:
    with asking(Said(200, body)) as (k2, _), pytest.raises(BadAnswer, match="Is it K2's API"):
        k2.symbols()


def test_the_key_follows_no_redirect() -> None:
    with scripted(rows()) as (elsewhere, stolen):
        sent_on = Said(307, headers={"Location": f"{elsewhere}/v1/symbols"})
        with asking(sent_on) as (k2, _), pytest.raises(BadAnswer, match="sends on to"):
            k2.symbols()
        assert stolen.lines == []


def test_a_retry_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    limited = problem(429, "rate_limited", Retry_After="2")
    with caplog.at_level(logging.WARNING), asking(limited, rows()) as (k2, _):
        assert k2.symbols() == []
    [told] = [r.getMessage() for r in caplog.records if r.name.startswith("k2_client")]
    assert told.startswith("attempt 1: because. Do this. (429 rate_limited); again in 2.")


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(rows()) as (address, asked):
        monkeypatch.setenv("K2_API_URL", f"{address}/")
        monkeypatch.setenv("K2_API_KEY", KEY)
        with K2() as k2:
            assert k2.symbols() == []
            assert repr(k2) == f"K2('{address}')"
        assert asked.headers[0]["X-API-Key"] == KEY
        monkeypatch.delenv("K2_API_KEY")
        with K2() as k2:
            assert k2.symbols() == []
        assert "X-API-Key" not in asked.headers[1]


@pytest.mark.parametrize(
    "address", ["localhost:8000", "ftp://host", "http://", "http://h:x", "http://[", "h"]
)
def test_what_can_be_no_address_is_refused_before_anything_is_asked(address: str) -> None:
    with pytest.raises(UsageError, match=r"address: .* Write http://HOST:PORT"):
        K2(address)


@pytest.mark.parametrize("key", ["k2_a\r\nX-Other: 1", "k2 a", "k2_ü", "\x00"])
def test_what_can_be_no_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(UsageError, match="key: ") as raised:
        K2("http://127.0.0.1:1", key)
    assert key not in str(raised.value)


def test_every_error_of_the_client_has_one_root() -> None:
    assert issubclass(NoAnswer, ClientError)
    assert issubclass(RateLimited, K2Problem)
    assert [NoAnswer.retryable, RateLimited.retryable, Unavailable.retryable] == [True] * 3
    assert [ServerFailed.retryable, Forbidden.retryable, BadAnswer.retryable] == [False] * 3


def test_every_error_and_row_can_be_imported_from_the_package() -> None:
    assert sorted(k2_client.__all__) == sorted(set(k2_client.__all__))
    assert [name for name in k2_client.__all__ if not hasattr(k2_client, name)] == []
    errors = {c.__name__ for c in vars(problems).values() if isinstance(c, type)}
    named = {name for name in errors if issubclass(getattr(problems, name), ClientError)}
    assert named <= set(k2_client.__all__)
