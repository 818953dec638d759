"""What Spark is told, from the environment alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from k2_lake.catalog import CATALOG_NAME, LakeSettings
from k2_lake.engine import engine_name
from k2_lake.spark import session
from k2_lake.spark.jars import pinned
from k2_lake.spark.session import require_parts
from k2_lake.spark.settings import EXACT, SparkSettings, catalog_properties
from k2_market.errors import EngineUnavailable, UnknownName, UsageError

HOME = Path("/nowhere")


def lake(**env: str) -> LakeSettings:
    return LakeSettings.from_environment(env, HOME)


def test_the_engine_is_duckdb_unless_the_environment_says_spark() -> None:
    assert engine_name({}) == engine_name({"K2_ENGINE": "duckdb"}) == "duckdb"
    assert engine_name({"K2_ENGINE": "spark"}) == "spark"
    with pytest.raises(UnknownName, match=r"K2_ENGINE.*'polars'.*duckdb, spark"):
        engine_name({"K2_ENGINE": "polars"})


def test_a_master_that_is_none_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match=r"'mesos://x'.*spark://HOST:PORT.*sc://HOST:PORT"):
        SparkSettings.from_environment({"K2_SPARK_MASTER": "mesos://x"})


def test_without_a_folder_spark_fetches_the_pinned_jars_itself() -> None:
    told = SparkSettings().configuration()
    assert told["spark.jars.packages"].split(",") == [jar.coordinates for jar in pinned()]
    assert "spark.jars" not in told
    assert "spark-token-provider-kafka" in told["spark.jars.excludes"]
    assert told.items() >= EXACT.items()
    assert told["spark.ui.enabled"] == "false"


def test_a_folder_of_jars_is_used_and_one_that_lacks_some_is_refused(tmp_path: Path) -> None:
    *all_but_one, last = pinned()
    for jar in all_but_one:
        (tmp_path / jar.file).touch()
    settings = SparkSettings.from_environment({"K2_SPARK_JARS": str(tmp_path)})
    with pytest.raises(
        EngineUnavailable, match=f"lacks {last.file}.*k2 spark jars --to {tmp_path}"
    ):
        settings.configuration()
    (tmp_path / last.file).touch()
    told = settings.configuration()
    assert told["spark.jars"] == ",".join(str(tmp_path / jar.file) for jar in pinned())
    assert "spark.jars.packages" not in told


def test_a_connect_server_is_told_nothing_that_is_its_own() -> None:
    settings = SparkSettings.from_environment({"K2_SPARK_MASTER": "sc://spark:15002"})
    assert settings.connects
    assert settings.configuration() == EXACT


def test_a_catalog_in_postgresql_has_the_same_name_for_both_engines() -> None:
    told = catalog_properties(
        lake(
            K2_CATALOG_URI="postgresql+psycopg2://k2:p%40ss@db:5433/lake?sslmode=require",
            K2_WAREHOUSE="s3://bucket/prefix",
            K2_S3_ENDPOINT="http://store:9000",
            K2_S3_REGION="eu-west-1",
            AWS_ACCESS_KEY_ID="key",
            AWS_SECRET_ACCESS_KEY="secret",
        )
    )
    name = f"spark.sql.catalog.{CATALOG_NAME}"
    assert told == {
        name: "org.apache.iceberg.spark.SparkCatalog",
        f"{name}.type": "jdbc",
        f"{name}.uri": "jdbc:postgresql://db:5433/lake?sslmode=require",
        f"{name}.jdbc.user": "k2",
        f"{name}.jdbc.password": "p@ss",
        f"{name}.jdbc.schema-version": "V1",
        f"{name}.warehouse": "s3://bucket/prefix",
        f"{name}.cache-enabled": "false",
        f"{name}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{name}.s3.endpoint": "http://store:9000",
        f"{name}.s3.path-style-access": "true",
        f"{name}.client.region": "eu-west-1",
        f"{name}.s3.access-key-id": "key",
        f"{name}.s3.secret-access-key": "secret",
    }


def test_a_catalog_in_sqlite_is_none_of_sparks() -> None:
    assert catalog_properties(lake(K2_CATALOG_URI=f"sqlite:///{HOME}/catalog.db")) == {}


def test_what_is_missing_is_said_in_one_line_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(session, "_installed", lambda: True)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(EngineUnavailable, match=r"^Spark needs Java.*apt-get install[^\n]*$"):
        require_parts(SparkSettings())
    require_parts(SparkSettings(master="sc://spark:15002"))
    monkeypatch.setattr(session, "_installed", lambda: False)
    with pytest.raises(EngineUnavailable, match=r"^Spark needs pyspark.*pip install[^\n]*$"):
        require_parts(SparkSettings())
