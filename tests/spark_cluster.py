"""A standalone Spark cluster: the very services of docker-compose.yml, as processes on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.needs import CHECKOUT, require
from tests.services import accepts, free_port, running, wait_until
from tests.spark import DEFAULTS

# Small and quickly started; a worker has room for one executor of one core.
_CLUSTER = """
spark.executor.memory 512m
spark.executor.extraJavaOptions -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
spark.sql.shuffle.partitions 2
spark.master.rest.enabled false
spark.python.daemon.module tests.spark_daemon
"""
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"
_START_S = 240


class SparkCluster:
    """A master and workers of one core each; more processes join it for as long as it is open."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        self._stack = stack
        self._pages = free_port()
        self.master = f"spark://127.0.0.1:{(port := free_port())}"
        (folder / "spark-defaults.conf").write_text(DEFAULTS + _CLUSTER)
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
            "K2_SPARK_JARS": str(require("spark")),
            "K2_SPARK_MASTER": self.master,
            "K2_TEST_HOLD": str(folder),
            "SPARK_CONF_DIR": str(folder),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_MASTER_HOST": "127.0.0.1",
            "SPARK_MASTER_PORT": str(port),
            "SPARK_MASTER_WEBUI_PORT": str(self._pages),
            "SPARK_WORKER_WEBUI_PORT": "0",
            "SPARK_WORKER_CORES": "1",
            "SPARK_WORKER_MEMORY": "512m",
            "SPARK_WORKER_DIR": str(folder / "work"),
            "SPARK_DAEMON_MEMORY": "768m",
            "SPARK_DAEMON_JAVA_OPTS": _JAVA,
        }

    def start_master(self) -> None:
        """Start it and wait until its page answers."""
        self.wait_for(lambda: self.page() is not None, "spark-master", self.start("spark-master"))

    def start_workers(self, count: int) -> None:
        """Start so many more and wait until the master has them."""
        wanted = count + len(self.alive())
        self.workers += [self.start("spark-worker") for _ in range(count)]
        self.wait_for(lambda: len(self.alive()) == wanted, "spark-worker", self.workers[-1])

    @contextmanager
    def connect_server(self) -> Iterator[str]:
        """A Connect server that works on this cluster: what K2_SPARK_MASTER is for its clients.

        It has all cores while it runs.
        """
        port = free_port()
        with self.started("spark-connect", {"K2_SPARK_CONNECT_PORT": str(port)}) as server:
            self.wait_for(lambda: accepts(port, server), "spark-connect", server)
            yield f"sc://127.0.0.1:{port}"

    def start(self, service: str) -> subprocess.Popen[bytes]:
        """The command of that service, as a process that ends with the cluster."""
        return self._stack.enter_context(self.started(service))

    @contextmanager
    def started(
        self, service: str, more: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """The command of that service, as a process that ends with the block."""
        options = {"cwd": self.folder, "env": {**self.environment, **(more or {})}}
        command = [*_leash(), *_command(service)]
        with (
            self._log(service).open("ab") as log,
            running(command, stdout=log, stderr=log, **options) as process,
        ):
            yield process

    def hold_next_write(self) -> None:
        """From now on the first that has written a file goes no further."""
        (self.folder / "armed").touch()

    def kill_held(self) -> None:
        """Once one is held back, end its worker with all that it runs, as a lost machine does."""
        held = self.folder.glob
        wait_until(lambda: any(held("held-*")), "a file written on a worker", _START_S)
        process = int(next(held("held-*")).name.removeprefix("held-"))
        (lost,) = (w for w in self.workers if process in descendants(w.pid))
        for each in (lost.pid, *descendants(lost.pid)):
            # What runs in another process may end by itself when that is gone.
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self.workers.remove(lost)

    def page(self) -> dict[str, Any] | None:
        """What the master tells of itself; None while it does not answer."""
        return asked(f"http://127.0.0.1:{self._pages}/json/")

    def alive(self) -> list[str]:
        """The ids of the workers that the master relies on."""
        told = self.page() or {}
        return [w["id"] for w in told.get("workers", ()) if w["state"] == "ALIVE"]

    def wait_for(
        self, ready: Callable[[], bool], what: str, process: subprocess.Popen[bytes]
    ) -> None:
        """Wait for it; if the process ends instead, fail with what it said last."""

        def looked() -> bool:
            if process.poll() is not None:
                said = self._log(what).read_text(errors="replace")[-3000:]
                pytest.fail(f"{what} ended with {process.returncode}:\n{said}")
            return ready()

        wait_until(looked, what, _START_S)

    def _log(self, service: str) -> Path:
        return self.folder / f"{service}.log"


def asked(url: str) -> Any:
    """The JSON that stands at the address; None while nobody answers there."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def descendants(process: int) -> list[int]:
    """The ids of the processes that this one has started, and those have, as far as they run."""
    children: list[int] = []
    for each in Path(f"/proc/{process}/task").glob("*/children"):
        # Threads end, and processes do.
        with suppress(FileNotFoundError, ProcessLookupError):
            children += map(int, each.read_text().split())
    return children + [each for child in children for each in descendants(child)]


@cache
def _command(service: str) -> tuple[str, ...]:
    compose = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
    # Compose reads a dollar of its own where one stands, and gives one to the command for two.
    return tuple(word.replace("$$", "$") for word in compose["services"][service]["command"])


def _leash() -> list[str]:
    # A test session that is killed must leave nothing behind.
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


@pytest.fixture(scope="module")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """A master and two workers."""
    with ExitStack() as stack:
        cluster = SparkCluster(tmp_path_factory.mktemp("cluster"), stack)
        cluster.start_master()
        cluster.start_workers(2)
        yield cluster
