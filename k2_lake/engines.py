"""The engine that the environment names."""

from __future__ import annotations

from collections.abc import Mapping

from k2_lake.catalog import Lake
from k2_lake.duckdb_engine import Connect, DuckDBEngine, memory_connection
from k2_lake.engine import Engine, engine_name


def engine_of(lake: Lake, env: Mapping[str, str], connect: Connect = memory_connection) -> Engine:
    """The engine of K2_ENGINE, duckdb or spark, on the files of that lake; ``connect`` is DuckDB's.

    Raises UnknownName for any other, UsageError for Spark's settings.
    """
    if engine_name(env) == "duckdb":
        return DuckDBEngine(connect, lake.io)
    from k2_lake.spark.engine import SparkEngine
    from k2_lake.spark.settings import SparkSettings

    return SparkEngine(SparkSettings.from_environment(env), lake)
