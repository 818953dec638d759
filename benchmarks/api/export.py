"""A million trades as Arrow: beside DuckDB over the same files, and in how much memory."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

import duckdb
import pyarrow as pa
from pyiceberg.expressions import LessThan

from benchmarks.api.lake import GrowingLake
from benchmarks.api.point import millions
from benchmarks.api.run import Run
from benchmarks.api.server import Server
from benchmarks.figures import Figure
from k2_lake.duckdb_engine import PRELUDE
from k2_lake.locations import local_path
from k2_lake.scan import planned
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import InvariantBroken
from k2_market.records import TRADE

SHARE = 0.5
MEMORY_MB = 300.0
# Of the 178 bytes that a trade takes in Arrow: what does not grow with rows is measured, not none.
BYTES_A_ROW = 2.0


@dataclass(frozen=True)
class Taken:
    """What a reader got: rows, seconds until it had the last of them decoded."""

    rows: int
    seconds: float


def measure(run: Run, server: Server, key: str, lake: GrowingLake) -> list[Figure]:
    """Rates in turn, and the server's peak above idle for two sizes."""
    few, many = run.sizes.exported
    run.tell("an export, to warm up")
    run.load.submit(receive, server.port, key, target(lake, few)).result()
    shares, ours, theirs = [], [], []
    for number in range(run.sizes.rounds):
        run.tell(f"{millions(few)} trades, round {number + 1} of {run.sizes.rounds}")
        theirs.append(few / _taken(run, few, read_files, files_of(lake, few)))
        ours.append(few / _taken(run, few, receive, server.port, key, target(lake, few)))
        shares.append(ours[-1] / theirs[-1])
    peaks = _peaks(run, server, key, lake)
    return [
        Figure(f"{millions(few)} trades from files by DuckDB", "trades/s", theirs),
        Figure(f"{millions(few)} trades as Arrow", "trades/s", ours),
        Figure("API / DuckDB", "ratio", shares, at_least=SHARE),
        *(
            Figure(f"memory above idle, {millions(n)}", "MB", mb, at_most=MEMORY_MB)
            for n, mb in peaks.items()
        ),
        Figure(
            f"memory more per row more, {millions(few)} to {millions(many)}",
            "bytes",
            [(b - a) * 2**20 / (many - few) for a, b in zip(peaks[few], peaks[many], strict=True)],
            at_most=BYTES_A_ROW,
        ),
    ]


def receive(port: int, key: str, asked: str) -> Taken:
    """Take the stream, batch by batch, decoded."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    started = time.perf_counter()
    connection.request("GET", asked, headers={"X-API-Key": key})
    answer = connection.getresponse()
    if answer.status != http.HTTPStatus.OK:
        raise InvariantBroken(f"{asked} answered {answer.status}: {answer.read(500)!r}")
    with pa.ipc.open_stream(answer) as batches:
        rows = sum(batch.num_rows for batch in batches)
    seconds = time.perf_counter() - started
    connection.close()
    return Taken(rows, seconds)


def read_files(paths: list[str]) -> Taken:
    """The same rows out of the same files, with as many threads as DuckDB likes."""
    with duckdb.connect(":memory:") as connection:
        connection.execute(PRELUDE)
        started = time.perf_counter()
        rows = connection.read_parquet(paths).to_arrow_table().num_rows
        return Taken(rows, time.perf_counter() - started)


def target(lake: GrowingLake, trades: int) -> str:
    """The question for the first so many trades of the lake: whole days."""
    end = lake.start + timedelta(days=trades // lake.a_day)
    asked = {"start": lake.start.isoformat(), "end": end.isoformat(), "format": "arrow"}
    return f"/v1/trades?{urlencode(asked)}"


def files_of(lake: GrowingLake, trades: int) -> list[str]:
    """The files of the same days."""
    last = (lake.start + timedelta(days=trades // lake.a_day)).date()
    files = planned(lake.lake.table(TRADES_TABLE), TRADE.schema, LessThan("trade_date", last))
    return [str(local_path(path)) for path in files.paths]


def _taken(run: Run, rows: int, take, *arguments: object) -> float:  # type: ignore[no-untyped-def]
    taken: Taken = run.load.submit(take, *arguments).result()
    if taken.rows != rows:
        raise InvariantBroken(f"{take.__name__} got {taken.rows} rows, not {rows}")
    return taken.seconds


def _peaks(run: Run, server: Server, key: str, lake: GrowingLake) -> dict[int, list[float]]:
    """By rows, how far the memory rose above what it was before, in MB; in turn."""
    found: dict[int, list[float]] = {rows: [] for rows in run.sizes.exported}
    for number in range(run.sizes.rounds):
        for rows, peaks in found.items():
            run.tell(f"memory of {millions(rows)} trades, round {number + 1} of {run.sizes.rounds}")
            idle = server.memory_mb()
            server.forget_peak()
            _taken(run, rows, receive, server.port, key, target(lake, rows))
            peaks.append(server.memory_mb("VmHWM") - idle)
    return found
