"""Processes that belong together: started in order, watched, and all stopped in the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from k2_market.errors import K2Error, UsageError

READY_S = 90.0
STOP_S = 20.0


class ServiceFailed(K2Error):
    """A process that belongs to the platform ended by itself or never became ready."""


@dataclass(frozen=True)
class Service:
    """A process: its command, and how to tell that it is ready for the next one."""

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]


class Supervisor:
    """Starts services, each in a process group of its own, and stops all of them on leaving.

    Their output goes to ``logs/<name>.log``. A context manager.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs, self._environment = logs, {**os.environ, **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, service: Service) -> None:
        """Start a service without waiting for it."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(service.name).open("ab") as log:
            # Its own group: Ctrl-C is for us, who stop the services in an order that loses nothing.
            self._running[service.name] = subprocess.Popen(
                list(service.command),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self, service: Service) -> None:
        """Wait until the service is ready. Raises ServiceFailed when it ends or takes too long."""
        deadline = time.monotonic() + READY_S
        while not service.ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"{service.name} was not ready within {READY_S:.0f} s. "
                    f"Its log: {self.log(service.name)}."
                )
            time.sleep(0.1)

    def check(self) -> None:
        """Raise ServiceFailed if any service has ended, with the last line that it logged."""
        for name, process in self._running.items():
            if process.poll() is not None:
                lines = self.log(name).read_text(errors="replace").strip().splitlines()
                last = lines[-1].strip() if lines else "it logged nothing"
                raise ServiceFailed(
                    f"{name} ended with code {process.returncode}: {last} (log: {self.log(name)})"
                )

    def stop(self, name: str) -> None:
        """Ask a service to end, wait for it, and end what is left of its process group."""
        process = self._running.pop(name, None)
        if process is None:
            return
        process.terminate()
        _await_end(process)

    def log(self, name: str) -> Path:
        """The log of a service."""
        return self._logs / f"{name}.log"

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.terminate()
        while self._running:
            _await_end(self._running.popitem()[1])


def port_open(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def answers(url: str) -> bool:
    """Whether the address answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own http address
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def require_free(host: str, port: int, option: str) -> None:
    """Raise UsageError when the port is taken; ``option`` is how the user chooses another."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"port {port} on {host} cannot be used: {error.strerror}. "
                f"Stop what uses it, or choose another with {option}."
            ) from None


def free_port(host: str) -> int:
    """A port that nothing uses now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _await_end(process: subprocess.Popen[bytes]) -> None:
    """Give it time to end by itself, then end what is left of its process group."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
