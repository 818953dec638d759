"""Answers questions about candles: from memory where it can, else from the tables."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any, cast

import pyarrow as pa
from pyiceberg.table import Table

from k2_api.questions.candles import CandleParameters
from k2_api.reading.asked import Asked, ask
from k2_api.reading.candle_export import candle_batches, count_candles, require_bounded
from k2_api.reading.candle_files import CandleFiles
from k2_api.reading.candle_health import candle_health
from k2_api.reading.candle_set import CANDLE_ROW, CandleSet, candle_set
from k2_api.reading.candles import candle_page, cursor_behind
from k2_api.reading.current import NOTHING_NEWER, Newer, NewerCandles
from k2_api.reading.hot import HotDays
from k2_api.reading.pulse import Beat
from k2_api.reading.queries import Page
from k2_api.reading.reader import LakeReader, read_from
from k2_api.reading.symbols import Symbols
from k2_lake.quality.freshness import Freshness
from k2_market.errors import UnknownName


class CandleReader:
    """What is asked of candles and the page of it; safe to use from several threads."""

    def __init__(
        self, reader: LakeReader, symbols: Symbols, newer: NewerCandles | None = None
    ) -> None:
        self._reader, self._symbols, self._newer = reader, symbols, newer
        self._files = CandleFiles(reader)
        self._hot = HotDays(reader, self._files)
        # By timeframe, the state of the catalog in which all that a page needs was looked up.
        self._looked_up: dict[str, Beat] = {}

    def at_once(self, timeframe: str, said: CandleParameters) -> tuple[Asked, Page] | None:
        """The page where it is in memory and nothing has changed: it waits for nothing.

        None as well where ``page`` knows better whether a name is known. Raises UsageError.
        """
        beat = self._reader.beat()
        if beat is None or self._looked_up.get(timeframe) != beat or not _plain(said):
            return None
        try:
            asked = self._ask(timeframe, said)
        except UnknownName:
            return None
        if self._newer is not None:
            newer = self._newer.at_hand(_source(asked), asked.table)
            if newer is None:
                return None
            asked = self._with(asked, newer)
        return self._from_memory(asked, said.limit, load=False)

    def page(self, timeframe: str, said: CandleParameters) -> tuple[Asked, Page]:
        """The page. Raises UsageError, UnknownName, TooLarge, LakeUnavailable."""
        beat = self._reader.beat()
        asked = self.asked(timeframe, said)
        found = self._from_memory(asked, said.limit, load=True) if _plain(said) else None
        if found is not None and beat is not None:
            self._looked_up[timeframe] = beat
        return found or (asked, candle_page(self._reader, self._files, asked, said.limit))

    def asked(self, timeframe: str, said: CandleParameters) -> Asked:
        """What is asked, of which state. Raises UsageError, UnknownName, LakeUnavailable."""
        try:
            asked = self._ask(timeframe, said)
        except UnknownName as error:
            # No table has a symbol whose first trade has just come.
            if error.kind != "symbol" or said.as_of is not None:
                raise
            of = candle_set(timeframe, said)
            known = self.newer(of.source.name, self._reader.table(of.table))
            asked = ask(self._reader, self._symbols, of, said, known=known)
        if asked.at is not None:
            return asked
        return self._with(asked, self.newer(_source(asked), asked.table))

    def count(self, asked: Asked) -> int:
        """How many rows there are. Raises TooLarge, LakeUnavailable."""
        return count_candles(self._reader, asked)

    def batches(
        self, asked: Asked, limit: int | None = None
    ) -> Generator[pa.RecordBatch, None, None]:
        """All rows, at most ``limit``, with the columns that were asked for.

        Raises LakeUnavailable, TooLarge, both at once where they can be told before the rows.
        """
        require_bounded(self._reader, asked, limit)
        instruments = self._symbols.listing().instruments
        return candle_batches(self._reader, self._files, asked, instruments, limit)

    def newer(self, timeframe: str, table: Table | None) -> Newer:
        """What stored candles of that timeframe do not tell yet. Raises LakeUnavailable."""
        return NOTHING_NEWER if self._newer is None else self._newer.of(timeframe, table)

    def health(self, lags: Mapping[str, Freshness]) -> list[dict[str, Any]]:
        """How far the candles of each instrument are. Raises LakeUnavailable."""
        return candle_health(self._reader, self._files, self._symbols.listing(), lags)

    def _ask(self, timeframe: str, said: CandleParameters) -> Asked:
        return ask(self._reader, self._symbols, candle_set(timeframe, said), said)

    def _with(self, asked: Asked, newer: Newer) -> Asked:
        if self._newer is None:
            return asked
        fresh = self._newer.freshness(_source(asked), asked.exchanges)
        return replace(asked, newer=newer, freshness=fresh)

    def _from_memory(self, asked: Asked, limit: int, *, load: bool) -> tuple[Asked, Page] | None:
        dataset = asked.dataset
        if not (isinstance(dataset, CandleSet) and dataset.stored and asked.one_instrument):
            return None
        found = self._hot.rows(asked, limit + 1, load=load)
        if found is None:
            return None
        more = len(found.rows) > limit
        key = (asked.exchanges[0], asked.symbols[0])
        behind = cursor_behind(asked, (*key, found.starts[limit - 1])) if more else None
        snapshot = read_from(asked.table, asked.at)
        return asked, Page(found.rows[:limit], snapshot, asked.start, asked.end, behind)


def _source(asked: Asked) -> str:
    return cast("CandleSet", asked.dataset).source.name


def _plain(said: CandleParameters) -> bool:
    """Whether rows are asked for as they are kept, of the newest state."""
    return (
        said.tz is None
        and said.as_of is None
        and said.fields in (None, ",".join(CANDLE_ROW.columns))
        and said.fill == "none"
        and not said.consolidated
    )
