"""A real Schema Registry for tests: Apicurio's, from its published artifact, all in memory.

It listens on 127.0.0.1 alone and ends with the test session.
"""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import require
from tests.services import accepts, free_port, running, wait_until

_JAVA = "-Xms96m -Xmx320m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData".split()
_API = "apis/ccompat/v7"


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry's Confluent-compatible API, of all tests of the session."""
    app = Path(require("registry"))
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    listen = ["-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}"]
    (jar,) = app.glob("*-runner.jar")
    # A test session that is killed must not leave a server behind.
    leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    command = [*leash, "java", *_JAVA, *listen, "-jar", str(jar)]
    url = f"http://127.0.0.1:{port}/{_API}"
    log = folder / "server.log"
    with log.open("wb") as out, running(command, cwd=folder, stdout=out, stderr=out) as process:
        wait_until(lambda: accepts(port, process) and _answers(url), f"the registry ({log})", 60)
        yield url


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/subjects", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
