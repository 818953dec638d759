"""Binance's history of trades, spot and futures.

Sources: "Old trade lookup" and "Compressed/Aggregate trades list" (spot), "Old Trades Lookup
(MARKET_DATA)" and "Compressed/Aggregate Trades List" (USD-M, COIN-M). Single trades are asked for
by their id: on spot by anyone, on futures with an API key (header ``X-MBX-APIKEY``) alone. Without
one, futures give aggregated trades by time. "Only market trades will be returned": insurance fund
and ADL prints have ids, but no history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from k2_feeds.archives.layouts import BINANCE_AGGREGATED_HISTORY, BINANCE_HISTORY
from k2_feeds.histories.history import Answered, History, Wanted, elements, micros, named
from k2_feeds.rest import RestClient

_HOUR_MS = 3_600_000  # the longest time that futures take at once
_AT_ONCE = 1_000


class _Trade(msgspec.Struct):
    id: int


class _Aggregated(msgspec.Struct):
    a: int
    f: int
    l: int  # noqa: E741 - Binance's name


_id = msgspec.json.Decoder(_Trade).decode
_ids = msgspec.json.Decoder(_Aggregated).decode


@dataclass(frozen=True)
class _Singles:
    """``historicalTrades``: trades from an id on, ``limit`` at most."""

    path: str
    limit: int
    weight: int

    def __call__(self, client: RestClient, wanted: Wanted) -> Iterator[Answered]:
        next_id = wanted.first_id
        while next_id <= wanted.last_id:
            limit = min(self.limit, wanted.last_id - next_id + 1)
            asked: dict[str, str | int] = {"symbol": wanted.name, "fromId": next_id, "limit": limit}
            answer = client.get(self.path, asked, weight=self.weight)
            rows = elements(answer, self.path)
            for row in rows:
                found = _id(row).id
                yield Answered(found, found, row)
                next_id = max(next_id, found + 1)
            if not rows:
                return


@dataclass(frozen=True)
class _Aggregates:
    """``aggTrades``: what traded in an hour at most, then on by the id of the aggregate."""

    path: str
    weight: int

    def __call__(self, client: RestClient, wanted: Wanted) -> Iterator[Answered]:
        start, end = micros(wanted.before_at) // 1000, micros(wanted.after_at) // 1000
        while start <= end:
            hour: dict[str, str | int] = {
                "startTime": start,
                "endTime": min(end, start + _HOUR_MS - 1),
            }
            page = self._page(client, wanted.name, hour)
            start += _HOUR_MS
            while page:
                yield from (Answered(ids.f, ids.l, row) for ids, row in page)
                last = page[-1][0]
                if last.l >= wanted.last_id:
                    return
                full = len(page) == _AT_ONCE
                page = self._page(client, wanted.name, {"fromId": last.a + 1}) if full else []

    def _page(
        self, client: RestClient, name: str, asked: dict[str, str | int]
    ) -> list[tuple[_Aggregated, bytes]]:
        query = {"symbol": name, "limit": _AT_ONCE, **asked}
        answer = client.get(self.path, query, weight=self.weight)
        return [(_ids(row), row) for row in elements(answer, self.path)]


# The words of Binance's dumps, which the layouts read, for those of its REST interface.
_SINGLE = named({"quoteQty": "quote_qty", "isBuyerMaker": "is_buyer_maker"})
_AGGREGATE = named(
    {
        "a": "agg_trade_id",
        "p": "price",
        "q": "quantity",
        "f": "first_trade_id",
        "l": "last_trade_id",
        "T": "transact_time",
        "m": "is_buyer_maker",
    }
)
_NOT_MARKET = "it keeps no insurance fund and ADL prints, which have ids as well"
_STRADDLES = (
    "aggregated trades that reach beyond the gap would count trades twice; with an API key in "
    f"K2_BINANCE_API_KEY single trades can be had. Besides, {_NOT_MARKET}"
)

SPOT = History(
    BINANCE_HISTORY,
    _SINGLE,
    _Singles("/api/v3/historicalTrades", _AT_ONCE, 25),
    "its history has no trades with these ids",
)


def futures(prefix: str, *, with_key: bool) -> History:
    """The history below ``/fapi/v1`` or ``/dapi/v1``."""
    if with_key:
        singles = _Singles(f"{prefix}/historicalTrades", 500, 20)
        return History(BINANCE_HISTORY, _SINGLE, singles, _NOT_MARKET)
    aggregates = _Aggregates(f"{prefix}/aggTrades", 20)
    return History(BINANCE_AGGREGATED_HISTORY, _AGGREGATE, aggregates, _STRADDLES)
