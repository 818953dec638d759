"""The API's benchmark with a tiny lake: it counts right; how fast anything is, it does not say."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.api import export
from benchmarks.api.__main__ import MARK, PAGE, RESULTS, Name, measure
from benchmarks.api.lake import GrowingLake
from benchmarks.api.load import Load, Plan, drive, quantile
from benchmarks.api.run import QUICK, running
from benchmarks.api.server import serving
from k2_market.errors import InvariantBroken

# Servers and the load's processes are started in the first test.
pytestmark = pytest.mark.timeout(300)

EXPECTED = {
    "10 trades of 0.02 million, p50": "ms",
    "10 trades of 0.06 million, p50": "ms",
    "the same, 0.06 million / 0.02 million trades": "ratio",
    "another key's p99 before a flood beyond the rate limit": "ms",
    "another key's p99 during a flood beyond the rate limit": "ms",
    "a flood beyond the rate limit, during / before": "ratio",
    "another key's p99 before requests to a store that is gone": "ms",
    "another key's p99 during requests to a store that is gone": "ms",
    "requests to a store that is gone, during / before": "ratio",
}


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A server that gives these answers in turn, whatever it is asked; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer, args=(listening, answers), daemon=True)
        thread.start()
        yield listening.getsockname()[1]


def _answer(listening: socket.socket, answers: tuple[bytes, ...]) -> None:
    turn = 0
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            while b"\r\n\r\n" in (connection.recv(4096) or b""):
                for at in range(0, len(answers[turn]), 7):
                    connection.sendall(answers[turn][at : at + 7])
                turn = (turn + 1) % len(answers)


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 20
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"
LIMITED = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}"


def test_answers_are_counted_by_status_however_they_come() -> None:
    expected = frozenset({200, 304, 429})
    with answering(WHOLE, CHUNKED, EMPTY, LIMITED) as port:
        load = drive(Plan(port, ["/a", "/b"], "key", seconds=0.3, pause_s=0.001, expect=expected))
    counts = load.statuses
    assert sum(counts.values()) == len(load.latencies) > 4
    # Two of four are 200, and the last round may have been cut short anywhere.
    assert 0 <= counts[200] - 2 * counts[429] <= 2
    assert 0 <= counts[304] - counts[429] <= 1
    whole, chunks = counts[200] - counts[200] // 2, counts[200] // 2
    assert load.body_bytes == 20 * whole + len(CHUNKED.split(b"\r\n\r\n", 1)[1]) * chunks + (
        2 * counts[429]
    )
    assert all(0 < seconds < load.seconds for seconds in load.latencies)


def test_a_status_that_is_not_expected_is_no_figure() -> None:
    with answering(LIMITED) as port, pytest.raises(InvariantBroken, match="429"):
        drive(Plan(port, ["/a"], seconds=0.1))


def test_a_quantile_is_a_latency_that_was_measured() -> None:
    assert [quantile([3, 1, 2, 4], q) for q in (0.01, 0.5, 0.75, 0.99)] == [1, 2, 3, 4]
    assert Load([0.001] * 99 + [1.0], seconds=2.0).quantile_ms(0.99) == 1.0
    assert Load([0.001] * 99 + [1.0], seconds=2.0).rate == 50


def test_a_tiny_run_tells_every_figure_and_reads_every_row(tmp_path: Path) -> None:
    told: list[str] = []
    with running(QUICK, told.append) as run:
        figures = measure([Name.POINT, Name.BREAKING], run, tmp_path)
        lake = GrowingLake(tmp_path / "lake", QUICK.a_day)
        lake.days = QUICK.trades // QUICK.a_day
        with serving(lake.home) as server:
            key = server.key("test")
            asked = export.target(lake, QUICK.trades)
            streamed = export.receive(server.port, key, asked)
            from_files = export.read_files(export.files_of(lake, QUICK.trades))
            assert server.memory_mb() > 50
    assert streamed.rows == from_files.rows == lake.trades == QUICK.trades
    assert {f.name: f.unit for f in figures} == EXPECTED
    assert all(f.value > 0 for f in figures)
    assert told


@pytest.mark.skipif(not RESULTS.exists(), reason="`make bench-api` has not kept its figures yet")
def test_the_page_shows_what_was_measured_of_the_api() -> None:
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    section = page.partition(f"<!-- {MARK} -->")[2].partition(f"<!-- end of {MARK} -->")[0]
    for f in found["figures"]:
        numbers = " | ".join(report.text(n) for n in (f["median"], min(f["runs"]), max(f["runs"])))
        assert f"| {f['name']} | {f['unit']} | {numbers} |" in section
    assert found["settings"]["only"] == [str(n) for n in Name]
    assert found["settings"]["trades"] == 10_000_000
