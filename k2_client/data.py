"""The questions that are asked when their rows are wanted, each with the names of the API."""

from __future__ import annotations

from typing import Literal, TypeVar, Unpack
from urllib.parse import quote

from k2_client.query import Query
from k2_client.questions import Asked, Names, Options, ranged, said
from k2_client.rows import (
    Candle,
    DayCondition,
    Gap,
    Instrument,
    Quote,
    Reconciliation,
    Rejected,
    Row,
    Trade,
    narrowed,
)
from k2_client.times import When, instant_text
from k2_client.transport import Http

R = TypeVar("R", bound=Row)


class Questions:
    """Rows of every kind, by instrument and range.

    Ranges are ``start`` inclusive, ``end`` exclusive; an instant is an aware datetime, a date (its
    midnight in UTC) or ISO 8601. Names may be several.
    """

    _http: Http

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

    def _rows(self, what: str, row: type[R], asked: Asked, options: Options) -> Query[R]:
        fields = options.get("fields")
        chosen = row if fields is None else narrowed(row, fields)
        return Query(self._http, f"/v1/{what}", said(asked, options), chosen, options.get("limit"))
