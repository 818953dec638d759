"""The one Spark session of a process, checked for what exact figures need before anyone has it."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING

from k2_lake.catalog import LakeSettings
from k2_lake.faults import told
from k2_lake.spark.settings import EXACT, LOOPBACK, SparkSettings, catalog_properties
from k2_market.errors import EngineUnavailable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INSTALL = "pip install 'k2-market-data[spark]'"
# A product of price and quantity keeps all its sixteen decimals, or candles lose digits silently.
GUARD = "select typeof(cast(1 as decimal(18,8)) * cast(1 as decimal(28,8))) as kind"
EXACT_PRODUCT = "decimal(38,16)"

_lock = threading.Lock()
_first: dict[SparkSettings, SparkSession] = {}


def spark_session(settings: SparkSettings, lake: LakeSettings) -> SparkSession:
    """A session on the Spark of this process, which the first call starts.

    Temporary views and settings are its own; the lake's tables are ``k2.<table>`` in its SQL where
    their catalog is PostgreSQL. Raises EngineUnavailable where pyspark, Java or the jars are
    missing, where Spark cannot be reached, and where it does not calculate exactly.
    """
    with _lock:
        if settings not in _first:
            _first[settings] = _started(settings)
        first = _first[settings]
        session: SparkSession = first.cloneSession() if settings.connects else first.newSession()
    for name, value in catalog_properties(lake).items():
        session.conf.set(name, value)
    return session


def require_parts(settings: SparkSettings) -> None:
    """Raises EngineUnavailable, naming the first part that Spark lacks here and how to get it."""
    if not _installed():
        raise EngineUnavailable(f"Spark needs pyspark, which is not installed: {INSTALL}")
    if not settings.connects and not _java():
        raise EngineUnavailable(
            "Spark needs Java 17 or later, and there is no `java` on PATH or in JAVA_HOME: "
            "apt-get install openjdk-17-jre-headless"
        )


def _installed() -> bool:
    return importlib.util.find_spec("pyspark") is not None


def _java() -> bool:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=f"{home}/bin" if home else None) is not None


def _started(settings: SparkSettings) -> SparkSession:
    require_parts(settings)
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    # It prints every error that is raised as well, with the stack of the JVM.
    logging.getLogger("SQLQueryContextLogger").disabled = True
    configuration = settings.configuration()
    # The workers' Python; pyspark asks the environment alone, and takes any python3 otherwise.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if not settings.on_this_machine and os.environ.get("SPARK_LOCAL_IP") == LOOPBACK:
        # pandera sets it wherever pyspark is installed, and no worker elsewhere could answer.
        del os.environ["SPARK_LOCAL_IP"]
    builder, master = SparkSession.builder, settings.master
    builder = builder.remote(master) if settings.connects else builder.master(master)
    try:
        session: SparkSession = builder.config(map=configuration).getOrCreate()
        require_exact(session)
    except (PySparkException, Py4JError, OSError, ValueError) as error:
        raise EngineUnavailable(
            f"Spark at {master} cannot be used: {told(error)}. Check K2_SPARK_MASTER and "
            "K2_SPARK_JARS (docs/spark.md)."
        ) from error
    return session


def require_exact(session: SparkSession) -> None:
    """Raises EngineUnavailable if this session would lose digits or shift days."""
    kind = session.sql(GUARD).collect()[0]["kind"]
    wrong = {k: v for k in EXACT if (v := session.conf.get(k, "unset")) != EXACT[k]}
    if kind != EXACT_PRODUCT or wrong:
        found = ", ".join(f"{k}={v}" for k, v in sorted(wrong.items())) or "as K2 asks"
        raise EngineUnavailable(
            f"this Spark does not calculate exactly: a price times a quantity is {kind} instead of "
            f"{EXACT_PRODUCT}, and its settings are {found}. Take what sets them otherwise out of "
            "its configuration."
        )
