"""Why trades are missing: what the frames of a gap's neighbours tell.

Each frame says by which connection it came and which of its frames it was, counted where it was
handed to Kafka. Trades of all symbols share a connection, so what counts is the whole connection
between the two neighbours, not the symbol's frames alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    LessThanOrEqual,
    Or,
)

from k2_lake.catalog import Lake
from k2_lake.engine import Engine, Input, statement
from k2_lake.quality.gap_ledger import Cause, Gap, Hole
from k2_lake.scan import planned
from k2_lake.tables import REJECTED_TABLE, bronze_name
from k2_market.kinds import Kind
from k2_market.records import RAW_FRAME, REJECTED

# Beyond so many holes the frames of the whole time from the first to the last are looked at.
RANGES = 50
# A symbol that was silent for longer, and came by two connections, has no frames in between to see.
LONGEST = timedelta(days=1)
# Two connections overlap for seconds when one replaces the other.
AROUND = timedelta(minutes=1)
LIVE = "live"


def with_causes(lake: Lake, engine: Engine, holes: Sequence[Hole]) -> list[Gap]:
    """The gaps that go on record for these holes, each with its cause."""
    gaps: list[Gap] = []
    for exchange in dict.fromkeys(hole.exchange for hole in holes):
        of_exchange = [hole for hole in holes if hole.exchange == exchange]
        told = _frames(lake, engine, exchange, of_exchange)
        gaps += [hole.gap(cause_of(told[i]).value) for i, hole in enumerate(of_exchange)]
    return gaps


def cause_of(frames: Mapping[str, Any]) -> Cause:
    """The cause that the neighbours' frames tell.

    ``before_*`` and ``after_*`` are connection, sequence and origin of the two, ``between_them``
    how many frames of one connection lie between, ``unread`` how many of those were rejected,
    ``before_last`` and ``after_first`` the last and first time that either connection was heard.
    """
    if frames["before_connection"] is None or frames["after_connection"] is None:
        return Cause.UNKNOWN
    if frames["before_connection"] == frames["after_connection"]:
        expected = frames["after_sequence"] - frames["before_sequence"] - 1
        complete = frames["between_them"] >= expected and not frames["unread"]
        return Cause.EXCHANGE if complete else Cause.LOSS
    if {frames["before_origin"], frames["after_origin"]} != {LIVE}:
        return Cause.UNRECORDED
    overlapped: bool = frames["after_first"] <= frames["before_last"]
    return Cause.ROTATION if overlapped else Cause.DISCONNECT


def _frames(
    lake: Lake, engine: Engine, exchange: str, holes: Sequence[Hole]
) -> dict[int, Mapping[str, Any]]:
    """By the number of the hole, what bronze tells of the frames around it."""
    received = reduce(Or, (_between(*span) for hole in holes[:RANGES] for span in _spans(hole)))
    if len(holes) > RANGES:
        received = _between(min(h.received[0] for h in holes), max(h.received[1] for h in holes))
    bronze = planned(lake.table(bronze_name(exchange, Kind.TRADES)), RAW_FRAME.schema, received)
    unread = And(EqualTo("exchange", exchange), received)
    rejected = planned(lake.table(REJECTED_TABLE), REJECTED.schema, unread)
    inputs: dict[str, Input] = {"frames": bronze, "rejected": rejected, "holes": _numbered(holes)}
    found = engine.query(statement("gap_frames").format(exchange=exchange), inputs)
    return {row["number"]: row for row in found.to_pylist()}


def _spans(hole: Hole) -> list[tuple[datetime, datetime]]:
    """When frames that tell of the hole were received."""
    start, end = hole.received
    return [(start, end)] if end - start <= LONGEST else [(start, start), (end, end)]


def _between(start: datetime, end: datetime) -> BooleanExpression:
    return And(
        GreaterThanOrEqual("received_at", (start - AROUND).isoformat()),
        LessThanOrEqual("received_at", (end + AROUND).isoformat()),
    )


def _numbered(holes: Sequence[Hole]) -> pa.Table:
    rows = []
    for number, hole in enumerate(holes):
        start, end = hole.received
        row: dict[str, Any] = {"number": number, "earliest": start - AROUND, "latest": end + AROUND}
        for side, place in (("before", hole.before), ("after", hole.after)):
            names = (f"{side}_epoch", f"{side}_partition", f"{side}_offset")
            row |= dict(zip(names, place, strict=True))
        rows.append(row)
    return pa.Table.from_pylist(rows)
