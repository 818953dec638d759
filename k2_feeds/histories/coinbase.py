"""Coinbase's history of trades.

Sources: "Get product trades" and "Pagination" of the Exchange API: 1,000 at most, the newest first;
``after`` asks for those older than an id.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from k2_feeds.archives.layouts import COINBASE_HISTORY
from k2_feeds.histories.history import Answered, History, Wanted, elements, named
from k2_feeds.rest import RestClient


class _Trade(msgspec.Struct):
    trade_id: int


_id = msgspec.json.Decoder(_Trade).decode


def _ask(client: RestClient, wanted: Wanted) -> Iterator[Answered]:
    path = f"/products/{wanted.name}/trades"
    after = wanted.last_id + 1
    while after > wanted.first_id:
        limit = min(1000, after - wanted.first_id)
        rows = elements(client.get(path, {"after": after, "limit": limit}), path)
        for row in rows:
            number = _id(row).trade_id
            yield Answered(number, number, row)
            after = min(after, number)
        if not rows:
            return


COINBASE = History(
    COINBASE_HISTORY,
    named({}),
    _ask,
    "its history has no trades with these ids",
)
