"""Spark for tests: one in a process, on two cores, with the jars that `k2 spark jars` fetches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.needs import require

if TYPE_CHECKING:
    from k2_lake.spark.settings import SparkSettings
    from tests.lakes import LakeDriver


# A test runs each statement a few times at most: compiling it well costs more than it gives.
# Java is started once, perhaps before a test whose store refuses checksums set the environment.
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Daws.requestChecksumCalculation=WHEN_REQUIRED"
DEFAULTS = f"""
spark.driver.extraJavaOptions {JAVA}
spark.sql.codegen.wholeStage false
"""


@pytest.fixture(scope="session")
def spark_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSettings]:
    """The Spark that all tests of a process share; whoever asks for it is marked ``spark``."""
    # Imported here, for most tests need no lake.
    from k2_lake.spark.settings import SparkSettings

    folder = tmp_path_factory.mktemp("spark")
    (folder / "spark-defaults.conf").write_text(DEFAULTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_CONF_DIR", str(folder))
        yield SparkSettings(master="local[2]", jars=Path(require("spark")))


def on_spark(driver: LakeDriver, settings: SparkSettings) -> LakeDriver:
    """The same lake, its next steps made by Spark."""
    from k2_lake.spark.engine import SparkEngine

    driver.engine = SparkEngine(settings, driver.lake)
    return driver
