"""How far the candles of each instrument are: newest windows, what is final, gaps and lag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, cast

from pyiceberg.expressions import AlwaysTrue

from k2_api.questions.timeframes import EPOCH, US
from k2_api.reading.candle_files import CandleFiles, Held
from k2_api.reading.reader import LakeReader
from k2_api.reading.symbols import Instrument, Listing
from k2_lake.quality.freshness import SLO_S, Freshness
from k2_lake.tables import GAPS_TABLE, candle_name
from k2_market.timeframes import TIMEFRAMES

_NEWEST = "select exchange, symbol, max(window_start) from {rows} group by exchange, symbol"
_OPEN_GAPS = (
    "select exchange, symbol, count(*), sum(missing)::bigint from {rows} where state = 'open' "
    "group by exchange, symbol"
)

# Exchange and symbol.
_Name = tuple[str, str]


def candle_health(
    reader: LakeReader, files: CandleFiles, listing: Listing, lags: Mapping[str, Freshness]
) -> list[dict[str, Any]]:
    """One row for each instrument that has trades. Raises LakeUnavailable."""
    gaps = _open_gaps(reader)
    frames = {name: _frame(reader, files, listing, name, lags) for name in TIMEFRAMES}
    return [
        {
            "exchange": exchange,
            "symbol": symbol,
            "timeframes": {name: frame[exchange, symbol] for name, frame in frames.items()},
            "open_gaps": gaps.get((exchange, symbol), (0, 0))[0],
            "missing_trades": gaps.get((exchange, symbol), (0, 0))[1],
        }
        for exchange, symbol in sorted({(i.exchange, i.symbol) for i in listing.instruments})
    ]


def _frame(
    reader: LakeReader,
    files: CandleFiles,
    listing: Listing,
    name: str,
    lags: Mapping[str, Freshness],
) -> dict[_Name, dict[str, Any]]:
    """By instrument, how far the candles of that timeframe are."""
    of = candle_name(name)
    table = reader.table(of)
    held = files.of(of, table, None)
    found = reader.run(_NEWEST, _last_days(held, listing.instruments), {}, table)
    newest = {(str(e), str(s)): cast("datetime", at).astimezone(UTC) for e, s, at in found}
    lag = lags.get(of)
    return {
        (i.exchange, i.symbol): {
            "newest_window": newest.get((i.exchange, i.symbol)),
            "final_until": _instant(held.over(i.exchange)),
            "lag_seconds": None if lag is None else round(lag.lag_s, 1),
            "slo_seconds": SLO_S.get(of),
        }
        for i in listing.instruments
    }


def _last_days(held: Held, instruments: Iterable[Instrument]) -> Any:
    """The files of the days on which instruments were traded last."""
    wanted: defaultdict[str, set[date]] = defaultdict(set)
    for i in instruments:
        wanted[i.exchange].add(i.last)
    return held.files.only(
        file
        for exchange, days in wanted.items()
        if (of := held.exchanges.get(exchange)) is not None
        for day, files in zip(of.days, of.files, strict=True)
        if day in days
        for file in files
    )


def _open_gaps(reader: LakeReader) -> dict[_Name, tuple[int, int]]:
    """By instrument, how many gaps are open and how many trades are missing in them."""
    table = reader.table(GAPS_TABLE)
    files = reader.plan(GAPS_TABLE, table, AlwaysTrue(), "all")
    found = reader.run(_OPEN_GAPS, files, {}, table)
    return {(str(e), str(s)): (cast("int", n), cast("int", m)) for e, s, n, m in found}


def _instant(us: int) -> datetime | None:
    return EPOCH + us * US if us else None
