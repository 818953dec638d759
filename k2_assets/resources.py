"""What the assets work with: the lake, the engine and Kafka, from the environment of the run."""

import os
from pathlib import Path

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_feeds.kafka.broker import FOLDER, settings_here
from k2_feeds.kafka.cluster import KafkaSettings
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.engine import Engine
from k2_lake.engines import engine_of
from k2_market.errors import BrokerUnavailable

BROKER_FOLDER = FOLDER


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The tables. ``home`` is K2's folder; empty means the environment's K2_HOME."""

    home: str = ""

    def settings(self) -> LakeSettings:
        """Where the lake is."""
        return LakeSettings.from_environment(os.environ, Path(self.home) if self.home else None)

    def open(self) -> Lake:
        """The lake, opened anew: a resource outlives a run, a catalog's connections must not."""
        return Lake(self.settings())


class KafkaResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The cluster of K2_KAFKA_BOOTSTRAP, else the embedded broker of this home."""

    home: str = ""

    def settings(self) -> KafkaSettings:
        """How to reach it. Raises BrokerUnavailable where none is configured or running."""
        home = LakeSettings.from_environment(
            os.environ, Path(self.home) if self.home else None
        ).home
        found = settings_here(os.environ, home)
        if found is None:
            raise BrokerUnavailable(
                f"no broker: K2_KAFKA_BOOTSTRAP is not set and none is running for {home}. "
                "Start one with `k2 demo`, or set K2_KAFKA_BOOTSTRAP."
            )
        return found


def duckdb_engine(lake: Lake, resource: DuckDBResource) -> Engine:
    """The engine on the connections of a DuckDBResource, reading the files of that lake."""
    return DuckDBEngine(resource.get_connection, lake.io)


def engine_for(lake: Lake, resource: DuckDBResource) -> Engine:
    """The engine that K2_ENGINE names, duckdb or spark. Raises UnknownName for any other."""
    return engine_of(lake, os.environ, resource.get_connection)


def resources(home: str = "") -> dict[str, object]:
    """The resources of the definitions, for one home."""
    return {
        "lake": LakeResource(home=home),
        "kafka": KafkaResource(home=home),
        "duckdb": DuckDBResource(database=":memory:"),
    }
