"""Saved answers of Kraken's REST endpoint ``Trades``: one document, or one in each line.

Source: "Get Recent Trades" of the API reference:
``{"error":[],"result":{"XXBTZUSD":[[...],...],"last":"1688671200000000000"}}``.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k2_feeds.adapter import WIRE_ERRORS
from k2_feeds.archives.files import Content
from k2_market.errors import UsageError

# An answer has at most 1,000 trades, so 100 kB; a file of one document is read whole.
_LARGEST = 64_000_000


class _Answer(msgspec.Struct):
    result: dict[str, msgspec.Raw] = {}
    error: list[str] = []


_decode = msgspec.json.Decoder(_Answer).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode


def rest_rows(content: Content) -> Iterator[tuple[str, bytes, int]]:
    """The pair, the bytes and the share of the file's bytes of every trade, in order.

    A document that is no answer is one row of no pair, which the parser rejects. Raises UsageError
    for an answer that is an error, and for one document above 64 MB.
    """
    for document in _documents(content):
        rows = _rows(document, content)
        for index, (pair, row) in enumerate(rows):
            yield pair, row, len(document) if index == len(rows) - 1 else 0


def _documents(content: Content) -> Iterator[bytes]:
    lines = content.lines()
    first = next(lines)
    try:
        _decode(first)
    except WIRE_ERRORS:
        if content.size > _LARGEST:
            raise UsageError(
                f"archive {content.name!r} is one document of {content.size:,} bytes, more than "
                f"{_LARGEST:,}. Save each answer of Trades in a line of its own."
            ) from None
        yield b"".join([first, *lines])
        return
    yield first
    yield from (line for line in lines if line.strip())


def _rows(document: bytes, content: Content) -> list[tuple[str, bytes]]:
    try:
        answer = _decode(document)
        if not answer.error:
            named = [(pair, raw) for pair, raw in answer.result.items() if pair != "last"]
            return [(pair, bytes(row)) for pair, raw in named for row in _decode_rows(raw)]
    except WIRE_ERRORS:
        return [("", document.strip())]
    raise UsageError(
        f"archive {content.name!r} holds an error instead of trades: {', '.join(answer.error)}. "
        "Fetch it again."
    )
