"""The client: what can be asked, each a method with the names that the API has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack
from urllib.parse import quote

from k2_client.access import access
from k2_client.answers import Answer
from k2_client.live import Live, Place
from k2_client.messages import Candles, Quotes, Trades
from k2_client.patience import Patience
from k2_client.query import Query, decoded
from k2_client.questions import (
    Asked,
    Names,
    Options,
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
    DayCondition,
    Gap,
    Instrument,
    Quote,
    Reconciliation,
    Rejected,
    Row,
    Snapshot,
    Summary,
    Symbol,
    Trade,
    narrowed,
)
from k2_client.times import Day, When, day_text, instant_text
from k2_client.transport import Http

R = TypeVar("R", bound=Row)

TIMEOUT_S = 60.0
RECONNECT_FOR_S = 900.0


class K2:
    """A connection to K2's API; a context manager, safe to use from several threads.

    Where they are None, ``address`` is K2_API_URL (else this machine's port 8000) and ``key``
    K2_API_KEY. ``timeout_s`` is how long a read may take, ``patience`` how a request that failed
    through no fault of its own is tried again. Ranges are ``start`` inclusive, ``end`` exclusive;
    an instant is an aware datetime, a date (its midnight in UTC) or ISO 8601. Names may be several.
    """

    def __init__(
        self,
        address: str | None = None,
        key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        patience: Patience = Patience(),  # noqa: B008
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = Http(access(address, key), timeout_s=timeout_s, patience=patience, sleep=sleep)

    def __repr__(self) -> str:
        return f"K2({self._http.access.address!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def trades(
        self,
        symbol: Names | None = None,
        exchange: Names | None = None,
        start: When | None = None,
        end: When | None = None,
        **options: Unpack[Options],
    ) -> Query[Trade]:
        """Trades, each exactly once. Without ``start``: from the newest day on."""
        return self._rows("trades", Trade, ranged(symbol, exchange, start, end), options)

    def quotes(
        self,
        symbol: Names | None = None,
        exchange: Names | None = None,
        start: When | None = None,
        end: When | None = None,
        **options: Unpack[Options],
    ) -> Query[Quote]:
        """Best bids and asks."""
        return self._rows("quotes", Quote, ranged(symbol, exchange, start, end), options)

    def ohlcv(
        self,
        symbol: Names | None = None,
        exchange: Names | None = None,
        timeframe: str = "1m",
        start: When | None = None,
        end: When | None = None,
        *,
        fill: Literal["none", "prev"] | None = None,
        tz: str | None = None,
        consolidated: bool = False,
        **options: Unpack[Options],
    ) -> Query[Candle]:
        """Candles of any timeframe: 1m, 7m, 4h, 1d, 1w, 1M.

        ``fill="prev"``: windows without a trade carry the close before on. ``tz``: days and longer
        begin at midnight there. ``consolidated``: one candle across the exchanges.
        """
        asked = ranged(symbol, exchange, start, end)
        asked |= {"fill": fill, "tz": tz, "consolidated": "true" if consolidated else None}
        return self._rows(f"ohlcv/{quote(timeframe, safe='')}", Candle, asked, options)

    def gaps(
        self,
        symbol: Names | None = None,
        exchange: Names | None = None,
        start: When | None = None,
        end: When | None = None,
        *,
        state: str | None = None,
        cause: str | None = None,
        **options: Unpack[Options],
    ) -> Query[Gap]:
        """Trades that are known to be missing, and what became of them."""
        asked = ranged(symbol, exchange, start, end) | {"state": state, "cause": cause}
        return self._rows("gaps", Gap, asked, options)

    def condition(
        self,
        symbol: Names | None = None,
        exchange: Names | None = None,
        start: When | None = None,
        end: When | None = None,
        *,
        kind: str | None = None,
        condition: str | None = None,
        **options: Unpack[Options],
    ) -> Query[DayCondition]:
        """Of each day whether it is whole, and why not."""
        asked = ranged(symbol, exchange, start, end) | {"kind": kind, "condition": condition}
        return self._rows("condition", DayCondition, asked, options)

    def reconciliation(
        self,
        symbol: Names | None = None,
        exchange: Names | None = None,
        start: When | None = None,
        end: When | None = None,
        *,
        timeframe: str | None = None,
        outcome: str | None = None,
        **options: Unpack[Options],
    ) -> Query[Reconciliation]:
        """Candles beside those that the exchange publishes."""
        asked = ranged(symbol, exchange, start, end) | {"timeframe": timeframe, "outcome": outcome}
        return self._rows("reconciliation", Reconciliation, asked, options)

    def rejected(
        self,
        exchange: Names | None = None,
        start: When | None = None,
        end: When | None = None,
        *,
        kind: str | None = None,
        reason: str | None = None,
        **options: Unpack[Options],
    ) -> Query[Rejected]:
        """Frames, and rows of frames, that broke a rule."""
        asked = ranged(None, exchange, start, end) | {"kind": kind, "reason": reason}
        return self._rows("rejected", Rejected, asked, options)

    def instruments(
        self,
        symbol: Names | None = None,
        exchange: Names | None = None,
        *,
        at: When | None = None,
        **options: Unpack[Options],
    ) -> Query[Instrument]:
        """What the exchanges list, now or as it was ``at`` an instant."""
        asked = ranged(symbol, exchange, None, None)
        asked["at"] = None if at is None else instant_text("at", at)
        return self._rows("instruments", Instrument, asked, options)

    def symbols(self, exchange: Names | None = None, *, as_of: State | None = None) -> list[Symbol]:
        """Every instrument that has trades; asked at once, as all that is short."""
        asked = {"exchange": joined(exchange), "as_of": state_text(as_of)}
        found: list[Symbol] = self._asked("/v1/symbols", asked, list[Symbol])
        return found

    def snapshots(self, table: str | None = None, *, limit: int | None = None) -> list[Snapshot]:
        """The states of tables that are kept, the newest first: ``as_of`` reads them."""
        asked = {"table": table, "limit": None if limit is None else str(limit)}
        found: list[Snapshot] = self._asked("/v1/snapshots", asked, list[Snapshot])
        return found

    def summary(
        self,
        symbol: str,
        day: Day,
        exchange: Names | None = None,
        *,
        as_of: State | None = None,
    ) -> list[Summary]:
        """A UTC day of an instrument, for each exchange: candle, condition, gaps, quotes."""
        path = f"/v1/summary/{quote(symbol, safe='')}/{day_text('day', day)}"
        asked = {"exchange": joined(exchange), "as_of": state_text(as_of)}
        found: list[Summary] = self._asked(path, asked, list[Summary])
        return found

    def live(
        self,
        symbol: Names,
        exchange: Names,
        channels: Names = "trades",
        *,
        cursors: Mapping[Place, str] | None = None,
        reconnect_for_s: float = RECONNECT_FOR_S,
    ) -> Live:
        """Rows as they come: ``async for`` or ``for``, without end.

        Each of ``channels`` (trades, quotes, ohlcv.1m) for every symbol on every exchange.
        ``cursors``: those of an earlier ``Live``, to go on behind what it gave.
        """
        wanted = product(listed(channels), listed(exchange), listed(symbol))
        places = [Place(*names) for names in wanted]
        return Live(self._http.access, places, cursors or {}, reconnect_for_s)

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

    def _asked(self, path: str, asked: Asked, form: Any) -> Any:
        return decoded(self._http.get(path, said(asked)), Answer[form]).data

    def _rows(self, what: str, row: type[R], asked: Asked, options: Options) -> Query[R]:
        fields = options.get("fields")
        chosen = row if fields is None else narrowed(row, fields)
        return Query(self._http, f"/v1/{what}", said(asked, options), chosen, options.get("limit"))
