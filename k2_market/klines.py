"""The exchanges' own candles, and what comparing ours with them tells of every window.

A figure is compared only where it means the same on both sides. What differs because our recording
covers a window in part, or not at all, is told apart from what differs for no reason that we know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal, localcontext
from enum import StrEnum
from functools import partial

import pyarrow as pa

from k2_market.records import INSTANT, Record, field
from k2_market.timeframes import Timeframe

Figures = Mapping[str, Decimal]

# Kraken's VWAP is cut, not rounded, to the pair's price decimals; ours is cut after eight.
_CUT = "vwap"
_VOLUME, _COUNT = "volume", "trade_count"
_DIGITS = 80


class Outcome(StrEnum):
    """What comparing a window told."""

    MATCHED = "matched"
    DIFFERS = "differs"
    SOURCE_MISSING = "source_missing"
    OURS_MISSING = "ours_missing"
    OURS_PARTIAL = "ours_partial"


@dataclass(frozen=True)
class Kline:
    """A candle as an exchange publishes it; ``figures`` by the names that ours have.

    ``volume`` is always among them. A VWAP has the decimals that the exchange cuts it to. Raises
    ValueError for what is no number.
    """

    window_start: datetime
    figures: Figures

    def __post_init__(self) -> None:
        for name, value in self.figures.items():
            if not value.is_finite():
                raise ValueError(f"{name} is {value}, which is no number")


@dataclass(frozen=True)
class Published:
    """What a source says of every window that starts in [start, end).

    A window of which it has no kline is missing there. ``source`` names it for people.
    """

    klines: Sequence[Kline]
    start: datetime
    end: datetime
    source: str

    def closed(self, frame: Timeframe, now: datetime) -> Published:
        """The same without windows that have not ended by ``now``: their figures still grow."""
        end = min(self.end, now - frame.length + timedelta(microseconds=1))
        kept = [k for k in self.klines if self.start <= k.window_start < end]
        return Published(kept, self.start, max(end, self.start), self.source)


@dataclass(frozen=True)
class Coverage:
    """What is known of our recording of a symbol: its first and last candle, and its gaps.

    A gap is when the trades before and after it were made, and how many are missing. None where
    there is no candle at all.
    """

    first: datetime | None = None
    last: datetime | None = None
    gaps: Sequence[tuple[datetime, datetime, int]] = ()

    def lack(self, start: datetime, end: datetime) -> str | None:
        """Why [start, end) need not be complete; None where nothing is known against it."""
        if self.first is None or self.last is None:
            return "nothing of it is recorded"
        for before, after, missing in self.gaps:
            if before < end and after >= start:
                what = "1 trade is" if missing == 1 else f"{missing} trades are"
                return f"{what} missing between {_utc(before)} and {_utc(after)}"
        if start < self.first:
            return f"our first candle is that of {_utc(self.first)}"
        if start > self.last:
            return f"our last candle is that of {_utc(self.last)}"
        if start == self.first:
            return "our first candle: the recording began within it"
        return "our last candle: the recording may end within it" if start == self.last else None


@dataclass(frozen=True)
class Comparison:
    """One window: what came of comparing ``fields``, and which of them ``differ``.

    ``ours`` and ``theirs`` hold all figures that could be compared, None where there is no candle.
    """

    window_start: datetime
    outcome: Outcome
    fields: tuple[str, ...]
    differing: tuple[str, ...]
    ours: Figures | None
    theirs: Figures | None
    reason: str | None


def compare(
    ours: Mapping[datetime, Figures], published: Published, frame: Timeframe, coverage: Coverage
) -> Iterator[Comparison]:
    """Every window that either side has, in order. Windows without trades on both sides match."""
    theirs = {kline.window_start: kline.figures for kline in published.klines}
    within = {start for start in ours if published.start <= start < published.end}
    for start in sorted(within | theirs.keys()):
        lack = partial(coverage.lack, start, start + frame.length)
        yield _compared(start, ours.get(start), theirs.get(start), lack)


def _compared(
    start: datetime,
    ours: Figures | None,
    theirs: Figures | None,
    lack: Callable[[], str | None],
) -> Comparison:
    if theirs is None:
        return Comparison(start, Outcome.SOURCE_MISSING, (), (), ours, None, None)
    if ours is None and theirs[_VOLUME]:
        return Comparison(start, Outcome.OURS_MISSING, (), (), None, theirs, lack())
    if ours is None:
        # Exchanges repeat the last close where nothing traded; ours leave such windows out.
        ours = {name: Decimal(0) for name in (_VOLUME, _COUNT) if name in theirs}
    fields = tuple(name for name in theirs if name in ours)
    differing = tuple(name for name in fields if not _same(name, ours[name], theirs[name]))
    ours = {name: ours[name] for name in fields}
    theirs = {name: theirs[name] for name in fields}
    if not differing:
        return Comparison(start, Outcome.MATCHED, fields, (), ours, theirs, None)
    reason = lack()
    outcome = Outcome.DIFFERS if reason is None else Outcome.OURS_PARTIAL
    return Comparison(start, outcome, fields, differing, ours, theirs, reason)


def _same(name: str, ours: Decimal, theirs: Decimal) -> bool:
    if name != _CUT:
        return ours == theirs
    with localcontext(prec=_DIGITS):
        return ours.quantize(theirs, ROUND_DOWN) == theirs


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


_NAMES = pa.list_(pa.field("element", pa.string(), nullable=False))
_FIGURES = pa.map_(pa.string(), pa.string())

RECONCILIATION = Record(
    name="Reconciliation",
    doc="A window of ours beside the same window as the exchange itself publishes it.",
    schema=pa.schema(
        [
            field("exchange", pa.string(), "Venue and market."),
            field("symbol", pa.string(), "Canonical symbol."),
            field("timeframe", pa.string(), "1m, 5m, 30m, 1h or 1d."),
            field("window_start", INSTANT, "Start of the window, inclusive."),
            field(
                "outcome",
                pa.string(),
                "matched, differs, source_missing, ours_missing, or ours_partial: differs where "
                "trades of ours are known to be missing.",
            ),
            field("fields", _NAMES, "What both sides have, and was compared."),
            field("differing", _NAMES, "Which of them differ."),
            field("ours", _FIGURES, "Our figures, exact, as text.", nullable=True),
            field("theirs", _FIGURES, "The exchange's figures as it writes them.", nullable=True),
            field("reason", pa.string(), "Why ours need not be complete.", nullable=True),
            field("source", pa.string(), "Where the exchange's figures are from."),
            field(
                "candles_snapshot",
                pa.int64(),
                "Snapshot of our candles that was first found so; null where there was none.",
                nullable=True,
            ),
            field("compared_at", INSTANT, "When it was first found so."),
            field("window_date", pa.date32(), "UTC day of window_start."),
        ]
    ),
    key=("exchange", "symbol", "timeframe", "window_start"),
    order=("symbol", "timeframe", "window_start"),
    day="window_date",
    partition=("exchange",),
)
