"""The command ``k2 demo`` as a user runs it: started, read, interrupted, and what it leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random

from tests.frames import Print
from tests.services import free_port, wait_until

K2 = str(Path(sys.executable).with_name("k2"))
SYMBOLS = {"BTCUSDT": Decimal("60000.00"), "ETHUSDT": Decimal("2700.00")}
TRADE_DAYS = ("2024-08-08", "2024-08-09")
TRADES_A_DAY = 80
START_S, STOP_S = 240.0, 60.0
DAY_MS, HOUR_MS, BETWEEN_MS = 86_400_000, 3_600_000, 37_123


def write_two_days(path: Path) -> list[Print]:
    """Frames of invented Binance trades on two days, as a recorder writes them."""
    random, trades = Random(2), []
    for day in range(len(TRADE_DAYS)):
        for symbol, level in SYMBOLS.items():
            for n in range(TRADES_A_DAY):
                at = day * DAY_MS + 10 * HOUR_MS + n * BETWEEN_MS
                price = level + Decimal(random.randint(-900, 900)) / 100
                quantity = Decimal(random.randint(1, 99_999)) / 100_000
                maker = random.random() < 0.5
                trades.append(Print(len(trades), at, f"{price}", f"{quantity}", maker, symbol))
    lines = (b"%d000 %b\n" % (trade.received_us, trade.binance()) for trade in trades)
    path.write_bytes(b"".join(lines))
    return trades


def replay(home: Path, frames: Path) -> dict[str, str]:
    """The summary of ``k2 demo --once``, which must succeed: figure by name."""
    command = [K2, "demo", "--once", "--home", str(home), "--frames", f"binance:{frames}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^│ (.+?) +│ +([\d,.]+) │$", done.stdout, re.MULTILINE)
    return {name: figure.replace(",", "") for name, figure in rows}


def query(home: Path, sql: str) -> str:
    """What ``k2 sql --format csv`` prints."""
    command = [K2, "sql", "--home", str(home), "--format", "csv", sql]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@dataclass
class RunningDemo:
    """A demo that has shown its addresses."""

    process: subprocess.Popen[bytes]
    home: Path
    output: Path
    dagster: str
    api: str
    key: str = ""
    stopped_with: int | None = field(default=None)

    def interrupt(self) -> int:
        """Ctrl-C as a terminal sends it, to the whole group; the exit code."""
        if self.stopped_with is None:
            os.killpg(self.process.pid, signal.SIGINT)
            self.stopped_with = self.process.wait(STOP_S)
        return self.stopped_with


@contextmanager
def running_demo(home: Path) -> Iterator[RunningDemo]:
    """The demo on two free ports, up to the addresses it prints; interrupted on leaving."""
    ports = free_port(), free_port()
    command = [K2, "demo", "--home", str(home)]
    command += ["--dagster-port", str(ports[0]), "--api-port", str(ports[1])]
    output = home.with_name("demo.out")
    with output.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    demo = RunningDemo(process, home, output, *addresses)
    try:
        wait_until(lambda: _ready(demo), "the demo", START_S)
        yield demo
    finally:
        demo.interrupt()


def processes_of(home: Path) -> dict[int, str]:
    """The commands, by process id, that name the home in their arguments or environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            belongs = str(home).encode() in command + (folder / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if belongs and int(folder.name) != os.getpid():
            found[int(folder.name)] = command.replace(b"\0", b" ").decode()
    return found


def _ready(demo: RunningDemo) -> bool:
    told = demo.output.read_text()
    assert demo.process.poll() is None, f"the demo ended with {demo.process.returncode}: {told}"
    if "Ctrl-C stops everything." not in told:
        return False
    demo.key = re.findall(r"^API key   (k2_\S+)$", told, re.MULTILINE)[0]
    return True
