"""How a Spark Connect server is started; tests/k2_lake/spark/test_cluster.py works with one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from k2_cli.main import app
from k2_lake.spark import connect
from k2_lake.spark.connect import SERVER, server_command, server_environment
from k2_lake.spark.settings import SparkSettings
from k2_market.errors import UsageError


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "require_parts", lambda settings: None)
    monkeypatch.setattr(connect, "_submit", lambda: Path("/spark/bin/spark-submit"))


def test_a_server_is_told_all_that_a_session_of_ones_own_is() -> None:
    settings = SparkSettings(master="spark://HOST:7077")
    submit, *words = server_command(settings, "0.0.0.0", 15002)
    assert submit == "/spark/bin/spark-submit"
    assert words[:4] == ["--class", SERVER, "--master", "spark://HOST:7077"]
    assert words[4::2] == ["--conf"] * (len(words) // 2 - 2)
    assert dict(word.split("=", 1) for word in words[5::2]) == {
        **settings.configuration(),
        "spark.connect.grpc.binding.address": "0.0.0.0",
        "spark.connect.grpc.binding.port": "15002",
    }


def test_its_workers_run_this_python_unless_the_environment_names_another() -> None:
    assert server_environment({"A": "b"}) == {"A": "b", "PYSPARK_PYTHON": sys.executable}
    assert server_environment({"PYSPARK_PYTHON": "/opt/python"})["PYSPARK_PYTHON"] == "/opt/python"


def test_a_server_cannot_be_where_another_one_is() -> None:
    with pytest.raises(UsageError, match=r"sc://HOST:15002, a Connect server itself.*local\[\*\]"):
        server_command(SparkSettings(master="sc://HOST:15002"), "127.0.0.1", 15002)


def test_the_command_becomes_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *told: became.append(told))
    env = {"K2_SPARK_MASTER": "local[1]", "K2_SPARK_CONNECT_PORT": "1234", "K2_SPARK_JARS": ""}
    done = CliRunner().invoke(app, ["spark", "connect"], env=env, catch_exceptions=False)
    assert done.stdout == "Spark Connect on sc://127.0.0.1:1234\n"
    ((program, command, environment),) = became
    assert command == server_command(SparkSettings(master="local[1]"), "127.0.0.1", 1234)
    assert program == command[0]
    assert environment["K2_SPARK_CONNECT_PORT"] == "1234"
