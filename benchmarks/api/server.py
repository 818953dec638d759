"""``k2 api`` as a process of its own, and what the system knows of its memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from k2_api.guard.keys import SCOPES, create_key
from k2_market.errors import InvariantBroken

K2 = str(Path(sys.executable).with_name("k2"))
FAST = "10000000/minute"
_STOP_S = 20.0


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    home: Path
    port: int
    pid: int

    def key(self, name: str, rate: str = FAST) -> str:
        """A new key that may do everything."""
        return create_key(self.home, name, SCOPES, rate)

    def get(self, target: str, key: str) -> bytes:
        """The body of an answer."""
        url = f"http://127.0.0.1:{self.port}{target}"
        request = urllib.request.Request(url, headers={"X-API-Key": key})
        with urllib.request.urlopen(request, timeout=60) as answer:
            body: bytes = answer.read()
            return body

    def memory_mb(self, of: str = "VmRSS") -> float:
        """Resident memory now, or with ``VmHWM`` its peak since ``forget_peak``."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"^{of}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    def forget_peak(self) -> None:
        """The peak begins anew, with what is resident now (Linux, proc(5): clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")


@contextmanager
def serving(home: Path, more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """``k2 api`` over the lake in that folder; ``more`` goes into its environment."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("K2_")} | dict(
        more or {}
    )
    command = [K2, "api", "--home", str(home), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            port = re.search(r"http://127\.0\.0\.1:(\d+)", first)
            if port is None:
                raise InvariantBroken(f"k2 api did not say where it listens: {first!r}")
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield Server(home, int(port[1]), process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
