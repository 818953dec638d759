"""How long an address and how large a body may be."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope

from k2_api.guard.refusals import BodyTooLarge, BodyTooSlow, UriTooLong

MAX_URI = 8 * 1024
MAX_BODY = 64 * 1024
BODY_WITHIN_S = 10.0
_DIGITS = 18

WITHOUT_BODY = {"GET", "HEAD", "OPTIONS"}


def require_short_uri(scope: Scope) -> None:
    """Raise UriTooLong for path and query of more than ``MAX_URI`` bytes."""
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if size > MAX_URI:
        raise UriTooLong(
            f"path and query are {size:,} bytes, at most {MAX_URI:,} are read. Name fewer symbols, "
            "or ask several questions with POST /v1/ohlcv/batch."
        )


async def bounded_body(scope: Scope, receive: Receive) -> Receive:
    """What gives the application the body, read to its end here.

    Raises BodyTooLarge beyond ``MAX_BODY`` bytes, BodyTooSlow when it takes too long.
    """
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    # Python refuses to read a number of thousands of digits.
    if declared.isdigit() and (len(declared) > _DIGITS or int(declared) > MAX_BODY):
        raise _too_large(f"more than {MAX_BODY:,}")
    if scope["method"] in WITHOUT_BODY:
        return receive
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            message = await _whole(receive)
    except TimeoutError:
        raise BodyTooSlow(
            f"the body was not there within {BODY_WITHIN_S:g} s. Send it at once."
        ) from None
    return _replayed(message, receive)


async def _whole(receive: Receive) -> Message:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return message
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise _too_large(f"more than {MAX_BODY:,}")
        more = message.get("more_body", False)
    return {"type": "http.request", "body": b"".join(parts), "more_body": False}


def _replayed(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def _too_large(size: str) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has {size} bytes, at most {MAX_BODY:,} are read. Send fewer questions at once."
    )
