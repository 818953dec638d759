"""What a parser makes of frames, and the count that shows that it lost none.

The parser is given: it belongs to the feeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import pyarrow as pa

from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind


class Parsed(Protocol):
    """What a parser makes of a batch of frames."""

    @property
    def rows(self) -> pa.Table:
        """Rows of the kind's record."""
        ...

    @property
    def rejected(self) -> pa.Table:
        """Rows of the Rejected record."""
        ...

    @property
    def control(self) -> int:
        """Frames that carry no market data."""
        ...

    @property
    def other(self) -> int:
        """Frames of channels that are not kept."""
        ...


Parse = Callable[[pa.Table], Parsed]


def parsed_figures(kind: Kind, frames: int, parts: Sequence[Parsed]) -> dict[str, int]:
    """Counts of batches; every frame must be rows, rejected, control or other."""
    told = sum(_told(part) for part in parts)
    control, other = sum(p.control for p in parts), sum(p.other for p in parts)
    if told + control + other != frames:
        raise InvariantBroken(
            f"{frames} frames were parsed, but {told} gave rows, {control} were control and "
            f"{other} of other channels: the parser lost or invented some."
        )
    return {
        "frames": frames,
        str(kind): sum(p.rows.num_rows for p in parts),
        "rejected": sum(p.rejected.num_rows for p in parts),
        "control": control,
        "other": other,
    }


def _told(parsed: Parsed) -> int:
    """How many frames gave rows, good or rejected."""
    coordinates = ["epoch", "kafka_partition", "kafka_offset"]
    both = [parsed.rows.select(coordinates), parsed.rejected.select(coordinates)]
    return pa.concat_tables(both).group_by(coordinates).aggregate([]).num_rows
