"""Servers that a test may take down and bring back: a PostgreSQL, and the way to a store."""

from __future__ import annotations

import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tests.needs import require
from tests.services import S3Server, _answers, _unprivileged, accepts, free_port, wait_until


class MortalPostgres:
    """A private cluster whose folder and port outlive its process."""

    def __init__(self, folder: Path) -> None:
        self._programs, self._folder, self._port = Path(require("postgres")), folder, free_port()
        self._options = {"cwd": folder, **_unprivileged(folder)}
        self._process: subprocess.Popen[bytes] | None = None
        initdb = ["-D", str(folder / "data"), "-U", "k2", "-A", "trust", "-E", "UTF8", "-N"]
        quiet = {"check": True, "stdout": subprocess.DEVNULL}
        subprocess.run([str(self._programs / "initdb"), *initdb], **quiet, **self._options)  # type: ignore[call-overload]

    @property
    def uri(self) -> str:
        """The SQLAlchemy URI of its database."""
        return f"postgresql+psycopg2://k2@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it, recovering from however it ended."""
        where = ["-D", str(self._folder / "data"), "-k", str(self._folder), "-p", str(self._port)]
        command = [str(self._programs / "postgres"), *where, "-c", "listen_addresses=127.0.0.1"]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log, **self._options)  # type: ignore[call-overload]
        self._process = process
        wait_until(lambda: accepts(self._port, process) and _answers(self.uri), "PostgreSQL")

    def kill(self) -> None:
        """End it at once, as a crash does: nothing is finished and nothing is answered."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)


@contextmanager
def own_postgres() -> Iterator[MortalPostgres]:
    """A running one; it and its folder are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="k2-mortal-"))
    postgres = MortalPostgres(folder)
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.kill()
        shutil.rmtree(folder)


class Wire(socketserver.ThreadingTCPServer):
    """Carries what is said to a port of this machine, until it is cut."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, to: int, port: int = 0) -> None:
        self.to = to
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Carried)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def cut(self) -> None:
        """Refuse connections from now on, and end those that there are."""
        self.shutdown()
        self.server_close()
        for each in list(self.open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class _Carried(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire: Wire = self.server  # type: ignore[assignment]
        with socket.create_connection(("127.0.0.1", wire.to)) as far:
            wire.open |= {self.request, far}
            back = threading.Thread(target=_carry, args=(far, self.request), daemon=True)
            back.start()
            _carry(self.request, far)
            back.join()
            wire.open -= {self.request, far}


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


class DistantStore:
    """A store at the end of a wire that can be cut and joined again."""

    def __init__(self, server: S3Server) -> None:
        self._to = int(server.endpoint.rsplit(":", 1)[1])
        self._wire = Wire(self._to)
        self._port = self._wire.server_address[1]
        self.server = replace(server, endpoint=f"http://127.0.0.1:{self._port}")

    def unplug(self) -> None:
        """Nobody reaches it."""
        self._wire.cut()

    def plug(self) -> None:
        """It is reached again, with all that it holds."""
        self._wire = Wire(self._to, self._port)
