"""Requests that are turned away: each kind has one status and one code, and says what to do."""

from __future__ import annotations

from collections.abc import Mapping

from k2_market.errors import K2Error, LakeUnavailable

# A flood of refusals would take the time of all others; more so where one costs a look at the lake.
AT_LEISURE_S, LATER_S = 0.1, 0.5


class Refusal(K2Error):
    """A request that is not answered, through no fault of the tables.

    ``headers`` go with the answer, which is sent after ``sent_after_s``.
    """

    status = 400
    code = "refused"
    title = "Refused"
    sent_after_s = 0.0

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = dict(headers or {})


class _Unauthorized(Refusal):
    status = 401

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"WWW-Authenticate": 'Bearer realm="K2"'})


class MissingKey(_Unauthorized):
    """A request without an API key."""

    code = "missing_key"
    title = "No API key"


class InvalidKey(_Unauthorized):
    """An API key that does not exist, or was revoked."""

    code = "invalid_key"
    title = "Unknown API key"


class ScopeMissing(Refusal):
    """An API key that may not do this."""

    status = 403
    code = "scope_missing"
    title = "The key may not do this"


class BodyTooSlow(Refusal):
    """A body that did not come."""

    status = 408
    code = "request_timeout"
    title = "The request did not come"


class BodyTooLarge(Refusal):
    """More was sent than one request may."""

    status = 413
    code = "too_large"
    title = "Too large"


class UriTooLong(Refusal):
    """An address that is longer than any question needs."""

    status = 414
    code = "uri_too_long"
    title = "The address is too long"


class RateLimited(Refusal):
    """More requests than the key may make in its time."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"
    sent_after_s = AT_LEISURE_S


class _Later(Refusal, LakeUnavailable):
    status = 503
    sent_after_s = LATER_S

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after_s)})


class TimedOut(_Later):
    """A query that took longer than it may; it was interrupted."""

    code = "timeout"
    title = "The query took too long"


class Overloaded(_Later):
    """As many requests as can be worked on are in work already."""

    code = "overloaded"
    title = "Too much is asked at once"


class BreakerOpen(_Later):
    """What the request needs has failed again and again, and is left alone for a while."""

    code = "breaker_open"
    title = "Switched off for now"
