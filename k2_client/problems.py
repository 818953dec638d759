"""Every error that the client raises on purpose, beside UsageError for what it is asked itself.

K2Error
└── ClientError
    ├── NoAnswer*             nothing answered at the address, or the connection was lost
    ├── BadAnswer             what answered is not K2's API, or not one that this client knows
    ├── LibraryMissing        pandas or polars is not installed
    └── K2Problem             the API answered with a problem (RFC 9457)
        ├── MissingKey        401: no key, or not one of its keys
        │   └── InvalidKey
        ├── Forbidden         403: the key lacks a scope
        ├── UnknownName       404: an exchange, symbol, timeframe, tag or snapshot (UsageError)
        ├── TooLarge          413, 414: more rows or bytes than one request may ask for
        ├── InvalidParameter  422: a parameter that cannot be understood (UsageError)
        ├── RateLimited*      429: too many requests
        ├── Unavailable*      502, 503, 504: the tables cannot be read now
        │   ├── TimedOut      the query took longer than a query may
        │   └── LiveOff       nothing is streamed: the API runs without Kafka, or is stopping
        └── ServerFailed      500: a fault of the server

Those marked * are tried again before they are raised: ``retryable`` says so.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

import httpx2
import msgspec

from k2_market.errors import K2Error, UsageError
from k2_market.retry_after import retry_after_s

_SHOWN = 200


class ClientError(K2Error):
    """Root of what the client raises."""


class NoAnswer(ClientError):
    """Nothing answered at the address, or not to the end."""

    retryable = True


class BadAnswer(ClientError):
    """What answered does not speak as K2's API does."""


class LibraryMissing(ClientError):
    """A library that the asked form needs is not installed."""


class K2Problem(ClientError):
    """The API's answer to a request that it could not carry out.

    ``code`` is its stable name, ``detail`` what was found and what to do, ``retry_after_s`` in how
    many seconds it may be asked again, None where it does not say.
    """

    advice: ClassVar[str] = ""

    def __init__(
        self, status: int, code: str, detail: str, retry_after_s: float | None = None
    ) -> None:
        self.status, self.code, self.detail = status, code, detail
        self.retry_after_s = retry_after_s
        super().__init__(" ".join(filter(None, (detail, self.advice, f"({status} {code})"))))


class MissingKey(K2Problem):
    """The API asks for a key."""

    advice = "Give K2(address, key), or set K2_API_KEY."


class InvalidKey(MissingKey):
    """The key is not, or no longer, one of the API's."""


class Forbidden(K2Problem):
    """The key has not the scope that the request needs."""


class UnknownName(K2Problem, UsageError):
    """A name that the API does not know; its detail lists those that it does."""


class TooLarge(K2Problem):
    """More than one request may ask for."""


class InvalidParameter(K2Problem, UsageError):
    """A parameter that the API cannot understand."""


class RateLimited(K2Problem):
    """Too many requests of this key."""

    retryable = True


class Unavailable(K2Problem):
    """The API cannot answer now."""

    retryable = True


class TimedOut(Unavailable):
    """The query took longer than a query may."""

    advice = "Ask for a shorter range."


class LiveOff(Unavailable):
    """Nothing is streamed; a stream that has begun waits until it is again."""


class ServerFailed(K2Problem):
    """A fault of the server, which its log explains."""


_BY_CODE: dict[str, type[K2Problem]] = {
    "invalid_key": InvalidKey,
    "live_off": LiveOff,
    "timeout": TimedOut,
}
_BY_STATUS: dict[int, type[K2Problem]] = {
    401: MissingKey,
    403: Forbidden,
    404: UnknownName,
    413: TooLarge,
    414: TooLarge,
    422: InvalidParameter,
    429: RateLimited,
    500: ServerFailed,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


class Told(msgspec.Struct):
    """A problem as it is written (RFC 9457)."""

    status: int
    detail: str
    code: str


def of_response(response: httpx2.Response) -> K2Problem:
    """The problem that an answer, read to its end, tells."""
    return of_answer(response.status_code, response.headers.get("Retry-After"), response.content)


def of_answer(status: int, retry_after: str | None, body: bytes) -> K2Problem:
    """The problem of that status; a body that is none of K2's, as of a proxy, is quoted."""
    wait_s = retry_after_s(retry_after or "", datetime.now(UTC))
    try:
        told = msgspec.json.decode(body, type=Told)
    except msgspec.MsgspecError:
        text = " ".join(body[:_SHOWN].decode(errors="replace").split())
        told = Told(status, text or "no text came with it.", f"http_{status}")
    return of_told(told, wait_s)


def of_told(told: Told, wait_s: float | None = None) -> K2Problem:
    """The typed error of a problem."""
    kind = _BY_CODE.get(told.code) or _BY_STATUS.get(told.status, K2Problem)
    return kind(told.status, told.code, told.detail, wait_s)
