"""Where Spark is and what its session is told, as the environment says it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from sqlalchemy import make_url

from k2_lake.catalog import CATALOG_NAME, LakeSettings
from k2_lake.spark.jars import in_folder, pinned
from k2_market.errors import UsageError

CONNECT = "sc://"
LOOPBACK = "127.0.0.1"
_MASTERS = ("local", "spark://", "yarn", "k8s://", CONNECT)

# What makes Spark's results those of DuckDB, digit for digit.
EXACT = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
# A result may be as large as a day: the machine of the run holds it, as it would with DuckDB.
_OF_DRIVER = {
    "spark.app.name": "k2",
    "spark.driver.maxResultSize": "0",
    "spark.log.level": "ERROR",
    "spark.python.unix.domain.socket.enabled": "true",
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "spark.ui.showConsoleProgress": "false",
}

# What the jars ask for beside them, and need not have: Spark has it itself or nothing here uses it.
# The first is missing in registries in the version that the connector for Kafka asks for.
_NOT_FETCHED = (
    "org.apache.spark:spark-token-provider-kafka-0-10_2.13",
    "org.scala-lang.modules:scala-parallel-collections_2.13",
    "com.google.code.findbugs:jsr305",
    "org.checkerframework:checker-qual",
)


@dataclass(frozen=True)
class SparkSettings:
    """Which Spark: ``master`` is a master's URL or, with ``sc://``, a Spark Connect server's.

    ``jars`` is a folder that ``k2 spark jars`` has filled; None lets Spark fetch them itself. A
    Connect server brings its own jars and Python.
    """

    master: str = "local[*]"
    jars: Path | None = None
    ui: bool = False

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> SparkSettings:
        """Settings from K2_SPARK_MASTER, K2_SPARK_JARS and K2_SPARK_UI (1: serve Spark's page).

        Raises UsageError for a master that is none.
        """
        master = env.get("K2_SPARK_MASTER") or cls.master
        if not master.startswith(_MASTERS):
            raise UsageError(
                f"K2_SPARK_MASTER is {master!r}. It is local[*], spark://HOST:PORT, yarn, "
                "k8s://..., or sc://HOST:PORT for Spark Connect."
            )
        jars = env.get("K2_SPARK_JARS")
        return cls(master, Path(jars).absolute() if jars else None, env.get("K2_SPARK_UI") == "1")

    @property
    def connects(self) -> bool:
        """Whether a Spark Connect server does the work."""
        return self.master.startswith(CONNECT)

    @property
    def on_this_machine(self) -> bool:
        """Whether no worker elsewhere has to reach this process."""
        return self.master.startswith(("local", f"spark://{LOOPBACK}", "spark://localhost"))

    def configuration(self) -> dict[str, str]:
        """What the first session is told. Raises EngineUnavailable for a folder without a jar."""
        if self.connects:
            return EXACT
        ui = {"spark.ui.enabled": str(self.ui).lower()}
        return {**_OF_DRIVER, **EXACT, **ui, **self._of_master()}

    def _of_master(self) -> dict[str, str]:
        """The jars, and few partitions where all is one machine."""
        if self.jars is None:
            packages = ",".join(jar.coordinates for jar in pinned())
            told = {"spark.jars.packages": packages, "spark.jars.excludes": ",".join(_NOT_FETCHED)}
        else:
            told = {"spark.jars": ",".join(map(str, in_folder(self.jars)))}
        if self.master.startswith("local"):
            told["spark.sql.shuffle.partitions"] = str(os.cpu_count() or 1)
        if self.on_this_machine:
            told["spark.driver.host"] = told["spark.driver.bindAddress"] = LOOPBACK
        return told


def catalog_properties(lake: LakeSettings) -> dict[str, str]:
    """What makes the lake's tables ``k2.<table>`` in Spark's SQL; nothing for a catalog in SQLite.

    Both sides call the catalog by the same name, for its rows in the database bear it.
    """
    url = make_url(lake.catalog_uri)
    if url.get_backend_name() != "postgresql":
        return {}
    at = f"{url.host or 'localhost'}:{url.port or 5432}/{url.database}"
    query = f"?{urlencode(url.query, doseq=True)}" if url.query else ""
    properties = {
        "type": "jdbc",
        "uri": f"jdbc:postgresql://{at}{query}",
        "jdbc.schema-version": "V1",
        "warehouse": lake.warehouse,
        "cache-enabled": "false",
        **_store(lake),
    }
    if url.username:
        properties["jdbc.user"] = url.username
    if url.password:
        properties["jdbc.password"] = str(url.password)
    name = f"spark.sql.catalog.{CATALOG_NAME}"
    told = {f"{name}.{key}": value for key, value in properties.items()}
    return {name: "org.apache.iceberg.spark.SparkCatalog", **told}


def _store(lake: LakeSettings) -> dict[str, str]:
    """The same store in the words of Iceberg's own reader; buckets are addressed by path."""
    if not lake.warehouse.startswith(("s3://", "s3a://")):
        return {}
    told = {
        "s3.endpoint": "s3.endpoint",
        "s3.region": "client.region",
        "s3.access-key-id": "s3.access-key-id",
        "s3.secret-access-key": "s3.secret-access-key",
        "s3.session-token": "s3.session-token",
    }
    given = {told[key]: value for key, value in lake.store.items() if key in told}
    return {
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "s3.path-style-access": "true",
        **given,
    }
