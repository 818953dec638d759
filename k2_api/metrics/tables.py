"""The tables as metrics, measured when Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from k2_api.reading.lags import Lags
from k2_api.reading.reader import LakeReader
from k2_api.reading.state import table_states
from k2_lake.tables import TABLES
from k2_market.errors import LakeUnavailable
from k2_market.metrics import TABLE_LAG, TABLE_ROWS, TABLE_SLO, TABLES_READABLE, Metric


class TableMetrics(Collector):
    """Lag, limit and rows of each table; that of a table whose lag nobody can tell is left out."""

    def __init__(self, reader: LakeReader, lags: Lags) -> None:
        self._reader, self._lags = reader, lags

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All families. While the tables cannot be read there is the one that says so."""
        try:
            states = table_states(self._reader, list(TABLES), self._lags.by_table())
        except LakeUnavailable:
            yield GaugeMetricFamily(TABLES_READABLE.name, TABLES_READABLE.help, value=0)
            return
        yield GaugeMetricFamily(TABLES_READABLE.name, TABLES_READABLE.help, value=1)
        yield _by_table(TABLE_LAG, {s["name"]: s["lag_seconds"] for s in states})
        yield _by_table(TABLE_SLO, {s["name"]: s["slo_seconds"] for s in states})
        yield _by_table(TABLE_ROWS, {s["name"]: s["rows"] for s in states})


def _by_table(metric: Metric, values: Mapping[str, Any]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for table, value in values.items():
        if value is not None:
            family.add_metric((table,), value)
    return family
