"""The metrics of K2: every name, what it counts, in which unit and by which labels.

Units are base units, and stand in the name (Prometheus, "Metric and label naming").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One metric. The values of ``labels`` are bounded: each is one of a fixed set of names."""

    name: str
    kind: Literal["gauge"]
    help: str
    labels: tuple[str, ...] = ()


TABLES_READABLE = Metric(
    "k2_tables_readable", "gauge", "1 while catalog and store answer, 0 while they do not."
)
TABLE_LAG = Metric(
    "k2_table_lag_seconds",
    "gauge",
    "Age of the oldest thing that arrived and is not in the table; 0 where nothing waits.",
    ("table",),
)
TABLE_SLO = Metric(
    "k2_table_slo_seconds", "gauge", "How far the table may be behind its feed.", ("table",)
)
TABLE_ROWS = Metric("k2_table_rows", "gauge", "Rows of the table's newest snapshot.", ("table",))

METRICS = (TABLES_READABLE, TABLE_LAG, TABLE_SLO, TABLE_ROWS)
