"""What a test may need from the machine, how to tell whether it is there, and how to get it.

A test says ``@pytest.mark.postgres``. Where PostgreSQL is absent it is skipped with the reason;
where the environment says ``K2_REQUIRE=postgres,browser`` it fails instead, so that a machine that
is meant to have a thing cannot pass without it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
_FETCH_TIMEOUT_S = 100


@dataclass(frozen=True)
class Need:
    """A thing, where it was found (None if nowhere) and what to do about that."""

    find: Callable[[], Path | str | None]
    remedy: str


def shared_data_folder() -> Path | None:
    """The folder of recorded market data, None where there is none."""
    folder = Path(os.environ.get("K2_SHARED_DATA") or CHECKOUT.parent / "shared" / "data")
    return folder if (folder / "expected_trades.parquet").exists() else None


def postgres_programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``; Debian keeps it off PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    programs = [*debian, *([Path(on_path)] if on_path else [])]
    return programs[0].parent if programs else None


def chromium() -> str | None:
    """The path of a Chromium or Chrome that playwright can be given."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@cache
def chart_library() -> Path | None:
    """The library that the page draws with, fetched where it is missing."""
    library = CHECKOUT / "k2_api/page/static/vendor/lightweight-charts.js"
    return library if library.exists() or _run("deploy/chart/fetch.sh", sys.executable) else None


@cache
def kafka_artifacts() -> Path | None:
    """The folder with Kafka's server, fetched where it is missing; None without Java or Maven."""
    has_java = shutil.which("java") is not None and shutil.which("keytool") is not None
    return _fetched("deploy/kafka/fetch.sh") if has_java else None


@cache
def registry_artifacts() -> Path | None:
    """The folder with Apicurio Registry, fetched if missing; None without Java or Maven."""
    return _fetched("deploy/registry/fetch.sh") if shutil.which("java") is not None else None


@cache
def s3proxy_artifacts() -> Path | None:
    """The folder with S3Proxy, fetched where it is missing; None without Java or Maven."""
    has_java = shutil.which("java") is not None and shutil.which("keytool") is not None
    return _fetched("deploy/s3/fetch.sh") if has_java else None


@cache
def spark_jars() -> Path | None:
    """The folder of Spark's jars, fetched where it is missing; None without pyspark or Java."""
    there = _module("pyspark") is not None and shutil.which("java") is not None
    return _fetched("deploy/spark/fetch.sh", sys.executable) if there else None


def _fetched(script: str, *arguments: str) -> Path | None:
    done = _run(script, *arguments)
    return None if done is None else Path(done.stdout.strip())


def _run(script: str, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    try:
        done = subprocess.run(
            [str(CHECKOUT / script), *arguments],
            capture_output=True,
            timeout=_FETCH_TIMEOUT_S,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return None
    return done if done.returncode == 0 else None


def _module(name: str) -> str | None:
    return name if importlib.util.find_spec(name) else None


NEEDS = {
    "data": Need(
        shared_data_folder, "set K2_SHARED_DATA, or put it in shared/data beside the checkout"
    ),
    "postgres": Need(postgres_programs, "apt-get install postgresql; the tests start their own"),
    "s3": Need(lambda: _module("moto"), "install requirements-dev.lock; the tests start moto"),
    "browser": Need(chromium, "apt-get install chromium"),
    "chart": Need(chart_library, "see what deploy/chart/fetch.sh says"),
    "kafka": Need(
        kafka_artifacts,
        "apt-get install default-jre-headless maven, and see what deploy/kafka/fetch.sh says; "
        "the tests start their own",
    ),
    "registry": Need(
        registry_artifacts,
        "apt-get install default-jre-headless maven, and see what deploy/registry/fetch.sh says; "
        "the tests start their own",
    ),
    "s3proxy": Need(
        s3proxy_artifacts,
        "apt-get install default-jre-headless maven, and see what deploy/s3/fetch.sh says; "
        "the tests start their own",
    ),
    "spark": Need(
        spark_jars,
        "`make spark`, with Java 17 and Maven (apt-get install openjdk-17-jre-headless maven), and "
        "see what deploy/spark/fetch.sh says",
    ),
}


def require(name: str) -> Path | str:
    """Where the thing is. Without it the test is skipped, or fails if K2_REQUIRE names it."""
    need = NEEDS[name]
    found = need.find()
    if found:
        return found
    message = f"{name} is not there: {need.remedy}"
    if name in os.environ.get("K2_REQUIRE", "").split(","):
        pytest.fail(f"{message} (K2_REQUIRE asks for it)", pytrace=False)
    pytest.skip(message)
