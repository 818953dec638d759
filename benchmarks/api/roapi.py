"""The same hundred candles from roapi, which serves Parquet files as well; where it is installed.

``pip install roapi`` into an environment of its own and put its ``bin`` on the PATH.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from benchmarks.api.lake import GrowingLake
from benchmarks.api.load import Plan
from benchmarks.api.point import CANDLES, MANY_CLIENTS, QUESTIONS, candle_targets, rates
from benchmarks.api.run import Run
from benchmarks.api.server import Server
from benchmarks.figures import Figure
from benchmarks.market import EXCHANGE, SYMBOLS
from k2_lake.locations import local_path
from k2_lake.scan import planned
from k2_lake.tables import candle_name
from k2_market.errors import InvariantBroken
from k2_market.records import CANDLE
from tests.services import free_port, wait_until

TIMES = 5.0


def measure(run: Run, server: Server, key: str, lake: GrowingLake) -> list[Figure]:
    """Requests a second of eight clients, of both in turn; nothing where there is no roapi."""
    program = shutil.which("roapi")
    if program is None:
        run.tell("roapi is not on the PATH: not compared")
        return []
    with tempfile.TemporaryDirectory() as folder, _serving(program, lake, Path(folder)) as port:
        _require_candles(port, _targets(lake)[0])
        seconds = run.sizes.seconds
        theirs = rates(run.drive("roapi", Plan(port, _targets(lake), "", MANY_CLIENTS, seconds)))
        asked = Plan(server.port, candle_targets(lake), key, MANY_CLIENTS, seconds)
        ours = rates(run.drive("candles, beside roapi", asked))
    return [
        Figure("100 candles from roapi, 8 clients", "requests/s", theirs),
        Figure(
            "100 candles, K2 / roapi",
            "ratio",
            [o / t for o, t in zip(ours, theirs, strict=True)],
            at_least=TIMES,
        ),
    ]


@contextmanager
def _serving(program: str, lake: GrowingLake, folder: Path) -> Iterator[int]:
    """roapi over the files of the candles, which it holds in memory, as it does by default."""
    files = planned(lake.lake.table(candle_name("1m")), CANDLE.schema)
    for number, path in enumerate(files.paths):
        (folder / f"{number}.parquet").symlink_to(str(local_path(path)))
    ports = [free_port() for _ in range(3)]
    options = ("--addr-http", "--addr-postgres", "--addr-flight-sql")
    addresses = [w for o, p in zip(options, ports, strict=True) for w in (o, f"127.0.0.1:{p}")]
    table = f"candles={folder}/,format=parquet"
    command = [program, *addresses, "--table", table]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _answers(ports[0]), "roapi")
            yield ports[0]
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False


def _targets(lake: GrowingLake) -> list[str]:
    """The newest hundred candles of a symbol before an instant."""
    chosen = random.Random(1)
    minutes = lake.days * 24 * 60
    return [
        _target(lake, chosen.choice(SYMBOLS)[1], chosen.randrange(CANDLES + 1, minutes))
        for _ in range(QUESTIONS)
    ]


def _target(lake: GrowingLake, symbol: str, minute: int) -> str:
    end = (lake.start + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")
    asked = {
        "filter[exchange]": f"'{EXCHANGE}'",
        "filter[symbol]": f"'{symbol}'",
        "filter[window_start]lt": f"'{end}'",
        "sort": "-window_start",
        "limit": str(CANDLES),
    }
    return "/api/tables/candles?" + "&".join(f"{k}={quote(v)}" for k, v in asked.items())


def _require_candles(port: int, target: str) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{target}", timeout=60) as answer:
        rows = json.load(answer)
    if len(rows) != CANDLES:
        raise InvariantBroken(f"roapi answered {target} with {len(rows)} rows")
