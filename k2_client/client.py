"""The client: what can be asked, each a method with the names that the API has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

from k2_client.access import access
from k2_client.answers import Page
from k2_client.at_once import Figures
from k2_client.batch import batched
from k2_client.data import Questions
from k2_client.live import Live, Place
from k2_client.messages import Candles, Quotes, Trades
from k2_client.patience import Patience
from k2_client.problems import K2Problem
from k2_client.query import Query
from k2_client.questions import (
    Names,
    State,
    joined,
    listed,
    ranged,
    said,
    state_text,
)
from k2_client.replay import replayed
from k2_client.rows import (
    Candle,
)
from k2_client.times import When, instant_text
from k2_client.transport import Http
from k2_market.closing import Closing

TIMEOUT_S = 60.0
PATIENCE = Patience()
RECONNECT_FOR_S = 900.0


class K2(Closing, Questions, Figures):
    """A connection to K2's API; a context manager, safe to use from several threads.

    Where they are None, ``address`` is K2_API_URL (else this machine's port 8000) and ``key``
    K2_API_KEY. ``timeout_s`` is how long a read may take, ``patience`` how a request that failed
    through no fault of its own is tried again.
    """

    def __init__(
        self,
        address: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        patience: Patience = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = Http(access(address, key), timeout_s=timeout_s, patience=patience, sleep=sleep)

    def __repr__(self) -> str:
        return f"K2({self._http.access.address!r})"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def batch(self, queries: Sequence[Query[Candle]]) -> list[Page[Candle] | K2Problem]:
        """The first page of each of these questions about candles, in one request for each 20.

        A question that cannot be answered has its problem in its place.
        """
        return list(batched(self._http, queries))

    def live(
        self,
        symbol: Names,
        exchange: Names,
        channels: Names = "trades",
        *,
        start: When | None = None,
        cursors: Mapping[Place, str] | None = None,
        reconnect_for_s: float = RECONNECT_FOR_S,
    ) -> Live:
        """Rows as they come: ``async for`` or ``for``, without end.

        Each of ``channels`` (trades, quotes, ohlcv.1m) for every symbol on every exchange.
        ``start``: what was received from then on comes first. ``cursors``: those of an earlier
        ``Live``, to go on behind what it gave.
        """
        wanted = product(listed(channels), listed(exchange), listed(symbol))
        places = [Place(*names) for names in wanted]
        begin = None if start is None else instant_text("start", start)
        return Live(self._http.access, places, cursors or {}, begin, reconnect_for_s)

    def replay(
        self,
        symbol: Names | None = None,
        exchange: Names | None = None,
        start: When | None = None,
        end: When | None = None,
        *,
        channels: Names = ("trades", "quotes"),
        as_of: State | None = None,
        cursor: str | None = None,
    ) -> Iterator[Trades | Quotes | Candles]:
        """What came from ``start`` to ``end``, times of receipt, in the order in which it came.

        The messages are those of ``live``; ``cursor``: that of one of them, to go on behind it.
        """
        asked = ranged(symbol, exchange, start, end)
        asked |= {"channels": joined(channels), "as_of": state_text(as_of), "cursor": cursor}
        return replayed(self._http, said(asked))
