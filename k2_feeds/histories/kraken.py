"""Kraken's history of trades.

Source: "Get Recent Trades" of the API reference: 1,000 trades at most, from the time ``since`` on
(nanoseconds); ``last`` is where to go on.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k2_feeds.adapter import WIRE_ERRORS
from k2_feeds.archives.layouts import KRAKEN_REST
from k2_feeds.histories.history import Answered, History, Wanted, micros
from k2_feeds.rest import RestClient
from k2_market.errors import RequestRefused

PATH = "/0/public/Trades"
# The fills of an order share their time: a page may end, and a gap begin, among them.
_EARLIER_NS = 1_000
_AT_ONCE = 1_000
_OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}


class _Answer(msgspec.Struct):
    result: dict[str, msgspec.Raw] = {}
    error: list[str] = []


_decode = msgspec.json.Decoder(_Answer).decode
_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_last = msgspec.json.Decoder(str | int).decode
_cells = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _ask(client: RestClient, wanted: Wanted) -> Iterator[Answered]:
    base, _, quote = wanted.name.partition("/")
    pair = _OLD_NAMES.get(base, base) + _OLD_NAMES.get(quote, quote)
    since = micros(wanted.before_at) * 1000 - _EARLIER_NS
    while True:
        body = client.get(PATH, {"pair": pair, "since": since, "count": _AT_ONCE})
        rows, last = _read(body)
        for row in rows:
            number = int(bytes(_cells(row)[6]))
            yield Answered(number, number, row)
        if len(rows) < _AT_ONCE or number >= wanted.last_id:
            return
        since = last - _EARLIER_NS if last - _EARLIER_NS > since else last


def _read(body: bytes) -> tuple[list[bytes], int]:
    try:
        answer = _decode(body)
        if answer.error:
            raise RequestRefused(f"kraken refused GET {PATH}: {', '.join(answer.error)}.")
        last = int(_last(answer.result.pop("last")))
        return [bytes(row) for raw in answer.result.values() for row in _rows(raw)], last
    except (*WIRE_ERRORS, KeyError):
        raise RequestRefused(f"GET {PATH} was answered with no trades: {body[:200]!r}.") from None


KRAKEN = History(
    KRAKEN_REST,
    lambda _: KRAKEN_REST.headerless["kraken"],
    _ask,
    "its history has no trades with these ids",
)
