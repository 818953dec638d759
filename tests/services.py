"""Real servers for tests: a private PostgreSQL cluster and an S3-compatible store.

Each is a process on 127.0.0.1 and a free port that ends with the test session.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import psycopg2
import pytest

from tests.needs import require

_START_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class S3Server:
    """Where the store listens and how to sign in."""

    endpoint: str
    access_key: str = "k2-test-key"
    secret_key: str = "k2-test-secret"
    region: str = "us-east-1"

    def new_bucket(self) -> str:
        """The name of a fresh, empty bucket."""
        name = f"k2-{uuid.uuid4().hex[:12]}"
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
        )
        client.create_bucket(Bucket=name)
        client.close()
        return name

    @property
    def environment(self) -> dict[str, str]:
        """The settings that make K2 use this store."""
        return {
            "K2_S3_ENDPOINT": self.endpoint,
            "K2_S3_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(ready: Callable[[], bool], what: str, timeout_s: float = _START_TIMEOUT_S) -> None:
    """Ask until the answer is yes. Raises TimeoutError that names what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not ready within {timeout_s:.0f} s")
        time.sleep(0.05)


@contextmanager
def running(
    command: list[str], *, end: signal.Signals = signal.SIGTERM, **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is asked to end, then made to, when the block is left."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(end)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def accepts(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether something listens on the port; raises if the process has ended instead."""
    if process.poll() is not None:
        raise RuntimeError(f"{process.args} ended with {process.returncode}")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The SQLAlchemy URI of the database ``postgres`` on a private cluster, as superuser k2."""
    with postgres(Path(require("postgres"))) as uri:
        yield uri


@contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """A private cluster for as long as the block lasts; the URI of its database ``postgres``."""
    port = free_port()
    # Not below pytest's folders: PostgreSQL refuses to be root, and nobody else may look there.
    folder = Path(tempfile.mkdtemp(prefix="k2-postgres-"))
    identity = _unprivileged(folder)
    data = str(folder / "data")
    options = {"stdout": subprocess.DEVNULL, "cwd": folder, **identity}
    initdb = [programs / "initdb", "-D", data, "-U", "k2", "-A", "trust", "-E", "UTF8", "-N"]
    server = [programs / "postgres", "-D", data, "-k", str(folder), "-p", str(port)]
    settings = "-c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300".split()
    try:
        subprocess.run([str(part) for part in initdb], check=True, **options)  # type: ignore[call-overload]
        with (
            (folder / "log").open("wb") as log,
            # Asked by SIGTERM, it would wait until every connection is closed.
            running(
                [*map(str, server), *settings], end=signal.SIGINT, stderr=log, **options
            ) as process,
        ):
            uri = f"postgresql+psycopg2://k2@127.0.0.1:{port}/postgres"
            wait_until(lambda: accepts(port, process) and _answers(uri), "PostgreSQL")
            yield uri
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_database(postgres_server: str) -> Iterator[str]:
    """The SQLAlchemy URI of an empty database of the test's own."""
    name = f"k2_{uuid.uuid4().hex[:12]}"
    yield create_database(postgres_server, name)
    _execute(postgres_server, f"drop database {name} with (force)")


def create_database(server: str, name: str) -> str:
    """The SQLAlchemy URI of a new, empty database of that server."""
    _execute(server, f"create database {name}")
    return server.removesuffix("postgres") + name


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3-compatible store that keeps its objects in memory."""
    require("s3")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with running(command, **quiet) as process:
        wait_until(lambda: accepts(port, process), "the S3 store")
        yield S3Server(f"http://127.0.0.1:{port}")


def _unprivileged(folder: Path) -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _answers(uri: str) -> bool:
    try:
        _execute(uri, "select 1")
    except psycopg2.OperationalError:
        return False
    return True


def _execute(uri: str, statement: str) -> None:
    connection = psycopg2.connect(uri.replace("+psycopg2", ""))
    connection.autocommit = True
    try:
        connection.cursor().execute(statement)
    finally:
        connection.close()
