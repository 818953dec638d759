"""What a step tells of its work: the figures that a run shows and that checks compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyiceberg.table import Table

from k2_lake.tables import name_of
from k2_lake.windows import Window


@dataclass(frozen=True)
class StepResult:
    """The outcome of one step on one table.

    ``snapshot_id`` is the table's head afterwards (None while it has none), ``sequence_before`` the
    sequence number of its head before, ``changed`` whether rows changed, ``figures`` what was
    counted, by name; ``windows`` names the first of the windows whose candle changed.
    """

    table: str
    snapshot_id: int | None
    sequence_before: int
    changed: bool
    figures: Mapping[str, int] = field(default_factory=dict)
    windows: Sequence[Window] = ()

    @classmethod
    def of(
        cls,
        table: Table,
        *,
        before: int,
        changed: bool,
        figures: Mapping[str, int],
        windows: Sequence[Window] = (),
    ) -> StepResult:
        """The result for a table that has just been committed to, or left alone."""
        head = table.current_snapshot()
        return cls(
            table=name_of(table),
            snapshot_id=None if head is None else head.snapshot_id,
            sequence_before=before,
            changed=changed,
            figures=figures,
            windows=windows,
        )
