"""A real S3-compatible server for tests: S3Proxy, from its published artifacts, over a folder.

It checks signatures, keeps objects on disk and may speak TLS. It listens on 127.0.0.1 alone and
ends with the test session.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.needs import require
from tests.services import S3Server, accepts, free_port, running, wait_until

_JAVA = "-Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData".split()
_QUIET = """<configuration>
<appender name="err" class="ch.qos.logback.core.ConsoleAppender">
<target>System.err</target><encoder><pattern>%level %logger %msg%n</pattern></encoder></appender>
<root level="WARN"><appender-ref ref="err"/></root></configuration>
"""
_PASSWORD = "changeit"
_KEYTOOL = "-genkeypair -alias s3 -keyalg RSA -keysize 2048 -validity 2 -storetype PKCS12".split()


@pytest.fixture(scope="session")
def s3proxy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3-compatible store that keeps its objects in a folder, over HTTP."""
    with s3proxy(tmp_path_factory.mktemp("s3proxy")) as server:
        yield server


@contextmanager
def s3proxy(folder: Path, *, certificate: Path | None = None) -> Iterator[S3Server]:
    """A server of this folder; with ``certificate`` it speaks TLS, and writes its own there."""
    jars, port = Path(require("s3proxy")), free_port()
    scheme = "http" if certificate is None else "https"
    server = S3Server(f"{scheme}://127.0.0.1:{port}")
    (folder / "objects").mkdir()
    (folder / "logback.xml").write_text(_QUIET)
    settings = _settings(folder, server)
    if certificate is not None:
        settings |= _with_certificate(folder, certificate)
    lines = [f"{name}={value}\n" for name, value in settings.items()]
    (folder / "s3proxy.conf").write_text("".join(lines))
    log = folder / "server.log"
    # A test session that is killed must not leave a server behind.
    leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    logging = f"-Dlogback.configurationFile={folder / 'logback.xml'}"
    main = ["org.gaul.s3proxy.Main", "--properties", str(folder / "s3proxy.conf")]
    command = [*leash, "java", *_JAVA, logging, "-cp", f"{jars}/*", *main]
    told = {"end": signal.SIGKILL, "cwd": folder, "stdout": subprocess.DEVNULL}
    with log.open("wb") as out, running(command, stderr=out, **told) as process:  # type: ignore[arg-type]
        wait_until(lambda: accepts(port, process), f"S3Proxy ({log})", 60)
        yield server


def _settings(folder: Path, server: S3Server) -> dict[str, str]:
    secure = server.endpoint.startswith("https")
    return {
        "s3proxy.secure-endpoint" if secure else "s3proxy.endpoint": server.endpoint,
        "s3proxy.authorization": "aws-v4",
        "s3proxy.identity": server.access_key,
        "s3proxy.credential": server.secret_key,
        "s3proxy.ignore-unknown-headers": "true",
        "jclouds.provider": "filesystem-nio2",
        "jclouds.filesystem.basedir": str(folder / "objects"),
    }


def _with_certificate(folder: Path, certificate: Path) -> dict[str, str]:
    keys = folder / "keys.p12"
    store = ["-keystore", str(keys), "-storepass", _PASSWORD]
    named = ["-dname", "CN=localhost", "-ext", "san=ip:127.0.0.1"]
    export = ["keytool", "-exportcert", "-alias", "s3", "-rfc", "-file", str(certificate), *store]
    for command in (["keytool", *_KEYTOOL, *named, *store], export):
        subprocess.run(command, check=True, capture_output=True)
    return {"s3proxy.keystore-path": str(keys), "s3proxy.keystore-password": _PASSWORD}
