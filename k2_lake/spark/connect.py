"""A Spark Connect server: how it is started so that K2 can work with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from k2_lake.spark.session import require_parts
from k2_lake.spark.settings import SparkSettings
from k2_market.errors import EngineUnavailable, UsageError

# SparkSubmit knows it by this name, and asks for no application then.
SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"


def server_command(settings: SparkSettings, host: str, port: int) -> list[str]:
    """The command of a server that listens on ``host`` and works at the master of ``settings``.

    Raises UsageError where that is a Connect server itself, EngineUnavailable where pyspark, Java
    or a jar is missing.
    """
    if settings.connects:
        raise UsageError(
            f"K2_SPARK_MASTER is {settings.master}, a Connect server itself. Say where this one is "
            "to work: local[*], spark://HOST:PORT, yarn or k8s://..."
        )
    require_parts(settings)
    told = {
        **settings.configuration(),
        "spark.connect.grpc.binding.address": host,
        "spark.connect.grpc.binding.port": str(port),
    }
    options = [word for name, value in told.items() for word in ("--conf", f"{name}={value}")]
    return [str(_submit()), "--class", SERVER, "--master", settings.master, *options]


def server_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server: its workers run this Python, unless ``env`` says which."""
    return {"PYSPARK_PYTHON": sys.executable, **env}


def _submit() -> Path:
    found = find_spec("pyspark")
    if found is None or found.origin is None:
        raise EngineUnavailable("pyspark has no folder with its programs. Install it again.")
    return Path(found.origin).parent / "bin" / "spark-submit"
