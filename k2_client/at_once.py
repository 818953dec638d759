"""What is short, and asked at once: listings, states, health, figures of a range as a whole."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import quote

from k2_client.answers import Answer
from k2_client.figures import Bucket, CandleHealth, Snapshot, Summary, Symbol, Twap, Vwap
from k2_client.query import decoded
from k2_client.questions import Asked, Names, State, joined, ranged, said, state_text
from k2_client.rows import Candle
from k2_client.times import Day, When, day_text
from k2_client.transport import Http


class Figures:
    """Answers as lists. Raises UsageError, ClientError."""

    _http: Http

    def symbols(self, exchange: Names | None = None, *, as_of: State | None = None) -> list[Symbol]:
        """Every instrument that has trades; asked at once, as all that is short."""
        asked = {"exchange": joined(exchange), "as_of": state_text(as_of)}
        found: list[Symbol] = self._asked("/v1/symbols", asked, list[Symbol])
        return found

    def candle_health(self) -> list[CandleHealth]:
        """Of each instrument how far its candles are, and how many trades they miss."""
        found: list[CandleHealth] = self._asked("/v1/ohlcv/health", {}, list[CandleHealth])
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

    def vwap(
        self,
        symbol: Names,
        exchange: Names | None,
        start: When,
        end: When | None = None,
        *,
        consolidated: bool = False,
        as_of: State | None = None,
    ) -> list[Vwap]:
        """The volume-weighted average price; ``consolidated``: one across the exchanges."""
        asked = _whole(symbol, exchange, start, end, consolidated, as_of)
        found: list[Vwap] = self._asked("/v1/aggregations/vwap", asked, list[Vwap])
        return found

    def twap(
        self,
        symbol: Names,
        exchange: Names | None,
        start: When,
        end: When | None = None,
        *,
        consolidated: bool = False,
        as_of: State | None = None,
    ) -> list[Twap]:
        """The time-weighted average price: each counts for as long as it was the last one."""
        asked = _whole(symbol, exchange, start, end, consolidated, as_of)
        found: list[Twap] = self._asked("/v1/aggregations/twap", asked, list[Twap])
        return found

    def volume_profile(
        self,
        symbol: Names,
        exchange: Names | None,
        start: When,
        end: When | None = None,
        *,
        bucket: Decimal | str | None = None,
        buckets: int | None = None,
        consolidated: bool = False,
        as_of: State | None = None,
    ) -> list[Bucket]:
        """How much was traded at which prices: ``bucket`` is a size, ``buckets`` a number."""
        asked = _whole(symbol, exchange, start, end, consolidated, as_of)
        asked |= {
            "bucket": None if bucket is None else str(bucket),
            "buckets": None if buckets is None else str(buckets),
        }
        found: list[Bucket] = self._asked("/v1/aggregations/volume_profile", asked, list[Bucket])
        return found

    def range_candle(
        self,
        symbol: Names,
        exchange: Names | None,
        start: When,
        end: When | None = None,
        *,
        consolidated: bool = False,
        as_of: State | None = None,
    ) -> list[Candle]:
        """One candle of the whole range, of any two instants."""
        asked = _whole(symbol, exchange, start, end, consolidated, as_of)
        found: list[Candle] = self._asked("/v1/aggregations/ohlcv", asked, list[Candle])
        return found

    def _asked(self, path: str, asked: Asked, form: Any) -> Any:
        return decoded(self._http.get(path, said(asked)), Answer[form]).data


def _whole(
    symbol: Names,
    exchange: Names | None,
    start: When,
    end: When | None,
    consolidated: bool,
    as_of: State | None,
) -> Asked:
    asked = ranged(symbol, exchange, start, end)
    return asked | {"as_of": state_text(as_of), "consolidated": "true" if consolidated else None}
