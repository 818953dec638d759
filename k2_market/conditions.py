"""The condition of a day: whether what there is of an instrument is all that there was.

Of trades whose ids are consecutive the ids themselves tell what is missing, so that a connection
that ended, or a frame that was lost, counts as a figure alone. Of all else nothing tells, and each
of these leaves the day degraded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

import pyarrow as pa

from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind
from k2_market.records import INSTANT, Record, field
from k2_market.timeframes import day_bounds

# A day that begins, or ends, with a silence twice as long as any within was recorded in part.
EDGE_FACTOR = 2
SHORTEST_EDGE = timedelta(minutes=1)


class Condition(StrEnum):
    """What a day of an instrument is worth. In order of the alphabet ``pending`` is the last."""

    AVAILABLE = "available"
    DEGRADED = "degraded"
    MISSING = "missing"
    PENDING = "pending"


@dataclass(frozen=True, order=True)
class Instrumented:
    """One kind of data of one instrument."""

    exchange: str
    symbol: str
    kind: Kind

    @property
    def proves_itself(self) -> bool:
        """Whether its ids tell what is missing."""
        return self.kind is Kind.TRADES and EXCHANGES[self.exchange].consecutive_ids


@dataclass(frozen=True)
class DayFigures:
    """What was counted of one kind of data of one instrument on one day; see DAY_CONDITION."""

    rows: int = 0
    gaps: int = 0
    missing_ids: int = 0
    rejected: int = 0
    connections: int = 0
    disconnects: int = 0
    lost_frames: int = 0
    longest_silence_us: int | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True)
class Circumstances:
    """What else bears on a day's condition.

    ``outstanding``: what its tables have not taken in yet. ``expected``: why there should be rows,
    "" where nothing says so. ``before`` and ``after``: whether it was recorded in the days around.
    """

    over: bool = True
    outstanding: Sequence[str] = ()
    expected: str = ""
    before: bool = False
    after: bool = False


def judge(
    what: Instrumented, day: date, figures: DayFigures, around: Circumstances
) -> tuple[Condition, list[str]]:
    """The condition of a day and the reasons for it, the heaviest first."""
    lacks = _lacks(what, day, figures, around)
    if not around.over:
        return Condition.PENDING, ["the day is not over", *lacks]
    if around.outstanding:
        return Condition.PENDING, [*around.outstanding, *lacks]
    if not figures.rows:
        return Condition.MISSING, [f"no rows, though {around.expected}", *lacks]
    return (Condition.DEGRADED if lacks else Condition.AVAILABLE), lacks


def _lacks(what: Instrumented, day: date, figures: DayFigures, around: Circumstances) -> list[str]:
    found = []
    if figures.gaps:
        found.append(
            f"{_counted(figures.missing_ids, 'trade')} missing in {_counted(figures.gaps, 'gap')}"
        )
    if figures.rejected:
        found.append(f"{_counted(figures.rejected, 'row')} rejected")
    if not what.proves_itself:
        if figures.disconnects:
            found.append(_counted(figures.disconnects, "disconnect"))
        if figures.lost_frames:
            found.append(f"{_counted(figures.lost_frames, 'frame')} lost on our side")
    return found + (edges(what, day, figures, around) if around.over else [])


def edges(what: Instrumented, day: date, figures: DayFigures, around: Circumstances) -> list[str]:
    """Long silences at either end of a day that is over, where nothing proves them to be true.

    Ids go on from day to day: those of the neighbouring days prove what they follow.
    """
    if figures.first_at is None or figures.last_at is None:
        return []
    start, end = day_bounds(day)
    inner = timedelta(microseconds=figures.longest_silence_us or 0)
    longest = max(EDGE_FACTOR * inner, SHORTEST_EDGE)
    found = []
    if figures.first_at - start > longest and not (what.proves_itself and around.before):
        found.append(f"nothing before {figures.first_at:%H:%M:%S}")
    if end - figures.last_at > longest and not (what.proves_itself and around.after):
        found.append(f"nothing after {figures.last_at:%H:%M:%S}")
    return found


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


DAY_CONDITION = Record(
    name="DayCondition",
    doc="Whether a day of trades or quotes of an instrument is whole, with the figures.",
    schema=pa.schema(
        [
            field("exchange", pa.string(), "Venue and market."),
            field("symbol", pa.string(), "Canonical symbol."),
            field("kind", pa.string(), "trades or quotes."),
            field("day", pa.date32(), "UTC day of trading."),
            field(
                "condition",
                pa.string(),
                "available; degraded: something is, or may be, missing; pending: the day is not "
                "over, or tables have changes of it outstanding; missing: no rows at all.",
            ),
            field(
                "reasons",
                pa.list_(pa.field("element", pa.string(), nullable=False)),
                "Why, in words; empty where available.",
            ),
            field("rows", pa.int64(), "Trades or quotes in gold."),
            field("gaps", pa.int64(), "Gaps that reach into the day and are not repaired."),
            field("missing_ids", pa.int64(), "Trades that are missing in those gaps."),
            field(
                "rejected",
                pa.int64(),
                "Rows rejected of what arrived on that day: its own, and those of its exchange "
                "whose instrument cannot be told.",
            ),
            field("connections", pa.int64(), "Live connections that it came by on that day."),
            field(
                "disconnects",
                pa.int64(),
                "Times that one ended before the next began: planned rotations overlap.",
            ),
            field(
                "lost_frames",
                pa.int64(),
                "Frames of those connections that were counted and did not arrive in bronze.",
            ),
            field(
                "longest_silence_us",
                pa.int64(),
                "Longest time between rows of different seconds, in microseconds.",
                nullable=True,
            ),
            field("first_at", INSTANT, "Time of the first row.", nullable=True),
            field("last_at", INSTANT, "Time of the last row.", nullable=True),
            field(
                "snapshots", pa.map_(pa.string(), pa.string()), "The snapshots that were counted."
            ),
            field("computed_at", INSTANT, "When it was first found so."),
        ]
    ),
    key=("exchange", "symbol", "kind", "day"),
    order=("symbol", "kind"),
    day="day",
    partition=("exchange",),
)
