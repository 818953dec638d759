"""``python -m benchmarks.soak``: a live feed for minutes, against disconnects and a restart.

A simulated Binance sends trades and ends every connection at a given age, with a closing handshake
after all that it wrote (``abort`` would lose what is under way, which no client can help). ``k2
feed`` is a process of its own, Apache Kafka another, restarted halfway; bronze is filled alongside.
In the end trading stops, the feed is told to end, and every trade that was written to a connected
and subscribed socket must be in bronze. Needs Java and Maven, as the tests with Kafka do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.machine import facts
from benchmarks.soak_count import count
from k2_assets.ingest import drain
from k2_feeds.kafka.admin import TopicsAdmin, TopicSettings
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.topics import raw_topic
from k2_lake.catalog import Lake, LakeSettings
from k2_market.errors import BrokerUnavailable, InvariantBroken, UsageError
from k2_market.kinds import Kind
from tests.kafka_server import KafkaServer
from tests.needs import kafka_artifacts

RESULTS = Path(__file__).parent / "results" / "soak.json"
EXCHANGE = "binance"
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT", "DOGE-USDT")
FLAT = 0.05
_DRAIN_EVERY_S = 5.0
_SETTLED_S = 3.0
_SETTLE_WITHIN_S = 120.0


@dataclass(frozen=True)
class Soak:
    """How long, how many frames a second, how old a connection may get."""

    seconds: float = 1200
    rate: float = 5000
    disconnect_s: float = 30


@dataclass
class Watched:
    """What is seen while it runs. ``rss`` is the feed's resident memory in bytes, each second."""

    rss: list[int] = field(default_factory=list)
    restarts: int = 0
    restart_s: float = 0.0
    commits: int = 0
    failure: BaseException | None = None


def soak(plan: Soak, kafka: KafkaServer, home: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run it and tell the result. Raises InvariantBroken where a process ended by itself."""
    home.mkdir(parents=True, exist_ok=True)
    kafka.delete_topic(raw_topic(Kind.TRADES, EXCHANGE))
    TopicsAdmin(kafka.settings).create([raw_topic(Kind.TRADES, EXCHANGE)], TopicSettings())
    lake = Lake(LakeSettings.from_environment({}, home))
    watched, over = Watched(), threading.Event()
    with _simulator(plan) as control, _feed(home, kafka.settings, control) as feed:
        _ask(control, rate=str(plan.rate / len(SYMBOLS)))
        filling = threading.Thread(target=_fill, args=(lake, kafka.settings, watched, over))
        filling.start()
        try:
            _watch(plan, kafka, feed, watched, home, tell)
            tell("trading has stopped; the feed delivers what it has")
            _ask(control, rate="0")
            _settle(home, feed)
            state, status = _ask(control)[EXCHANGE], _status(home)
            feed.send_signal(signal.SIGTERM)
            if feed.wait(60) != 0:
                raise InvariantBroken(f"the feed ended with code {feed.returncode}")
        finally:
            over.set()
            filling.join()
    if watched.failure is not None:
        raise watched.failure
    tell("bronze takes the rest, then trades are compared")
    while drain(lake, kafka.settings, EXCHANGE, Kind.TRADES).lag:
        pass
    found = count(lake, EXCHANGE, state["made"], state["sent"])
    return {
        "frames": asdict(found),
        "frames_written": state["frames"],
        "disconnects": state["disconnects"],
        "connections": status["connections"],
        "broker_restarts": watched.restarts,
        "broker_restart_s": round(watched.restart_s, 1),
        "longest_gap_s": max(s["longest_gap_us"] for s in status["sessions"]) / 1e6,
        "waits_for_kafka": status["waits"],
        "producer_replaced": status["outages"],
        "dead_letters": status["letters"],
        "bronze_commits": watched.commits,
        "memory": _memory(watched.rss),
        "reached": {
            "nothing missing": found.missing == 0,
            "memory flat": abs(float(_memory(watched.rss)["change"])) <= FLAT,
        },
    }


def _watch(
    plan: Soak,
    kafka: KafkaServer,
    feed: subprocess.Popen[bytes],
    watched: Watched,
    home: Path,
    tell: Callable[[str], None],
) -> None:
    """Sample the feed's memory each second; restart Kafka halfway."""
    restarting = threading.Thread(target=_restart, args=(kafka, watched))
    began = time.monotonic()
    while (passed := time.monotonic() - began) < plan.seconds:
        if feed.poll() is not None or watched.failure is not None:
            raise watched.failure or InvariantBroken(f"the feed ended: {feed.returncode}")
        watched.rss.append(_rss(feed.pid))
        if passed >= plan.seconds / 2 and not restarting.ident:
            restarting.start()
        tell(_progress(passed, plan, _status(home), watched))
        time.sleep(max(0.0, 1 - (time.monotonic() - began - passed)))
    restarting.join()


def _restart(kafka: KafkaServer, watched: Watched) -> None:
    began = time.monotonic()
    kafka.restart()
    watched.restarts += 1
    watched.restart_s = time.monotonic() - began


def _fill(lake: Lake, kafka: KafkaSettings, watched: Watched, over: threading.Event) -> None:
    """Bronze follows the topic; a broker that is away is asked again."""
    while not over.wait(_DRAIN_EVERY_S):
        try:
            watched.commits += drain(lake, kafka, EXCHANGE, Kind.TRADES).result.changed
        except BrokerUnavailable:
            continue
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            watched.failure = error
            return


def _settle(home: Path, feed: subprocess.Popen[bytes]) -> None:
    """Wait until nothing has come and nothing has waited for Kafka for some seconds."""
    deadline, quiet_since, seen = time.monotonic() + _SETTLE_WITHIN_S, time.monotonic(), None
    while time.monotonic() < deadline:
        status = _status(home)
        now = (status.get("frames"), status.get("queued"))
        if now != seen or status.get("queued"):
            quiet_since, seen = time.monotonic(), now
        elif time.monotonic() - quiet_since >= _SETTLED_S:
            return
        time.sleep(0.5)
    raise InvariantBroken(f"the feed {feed.pid} still has {_status(home).get('queued')} frames")


def _memory(rss: list[int]) -> dict[str, Any]:
    """Medians of the first and the last quarter of the samples, in MB, warm-up and all.

    ``each_minute_mb`` shows what came between.
    """
    quarter = max(1, len(rss) // 4)
    first, last = median(rss[:quarter]) / 2**20, median(rss[-quarter:]) / 2**20
    return {
        "first_quarter_mb": round(first, 1),
        "last_quarter_mb": round(last, 1),
        "highest_mb": round(max(rss) / 2**20, 1),
        "change": round(last / first - 1, 4),
        "samples": len(rss),
        "each_minute_mb": [
            round(median(rss[at : at + 60]) / 2**20, 1) for at in range(0, len(rss), 60)
        ],
    }


@contextmanager
def _simulator(plan: Soak) -> Iterator[str]:
    """The address of its control path."""
    command = [sys.executable, "-m", "k2_feeds.simulator", "--only", EXCHANGE]
    command += ["--symbols", ",".join(SYMBOLS), "--rate", "0"]
    command += ["--fault", f"disconnect={plan.disconnect_s}"]
    with _process(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        endpoint = process.stdout.readline().decode().strip()
        yield endpoint.replace("ws://", "http://") + "/control"


@contextmanager
def _feed(home: Path, kafka: KafkaSettings, control: str) -> Iterator[subprocess.Popen[bytes]]:
    listed = f"exchanges: {{{EXCHANGE}: {{kinds: [trades], symbols: [{', '.join(SYMBOLS)}]}}}}\n"
    (home / "instruments.yaml").write_text(listed)
    endpoint = control.replace("http://", "ws://").removesuffix("/control")
    command = [sys.executable, "-c", "from k2_cli.main import run; run()", "feed"]
    command += ["--home", str(home), "--endpoint", endpoint]
    env = {**os.environ, "K2_KAFKA_BOOTSTRAP": kafka.bootstrap}
    with (home / "feed.log").open("wb") as log, _process(command, stderr=log, env=env) as process:
        deadline = time.monotonic() + 60
        while not _status(home).get("frames"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise InvariantBroken(f"the feed does not run: {(home / 'feed.log').read_text()}")
            time.sleep(0.2)
        yield process


@contextmanager
def _process(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _status(home: Path) -> dict[str, Any]:
    """What the feed says of itself; empty before it has said anything."""
    path = home / "feeds.json"
    told: dict[str, dict[str, Any]] = json.loads(path.read_bytes()) if path.exists() else {}
    return next(iter(told.values()), {})


def _ask(control: str, **settings: str) -> dict[str, Any]:
    query = "&".join(f"{name}={value}" for name, value in settings.items())
    with urllib.request.urlopen(f"{control}?{query}", timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def _rss(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _progress(passed: float, plan: Soak, status: dict[str, Any], watched: Watched) -> str:
    return (
        f"{passed:,.0f} of {plan.seconds:,.0f} s: {status.get('frames', 0):,} frames, "
        f"{status.get('connections', 0)} connections, {status.get('queued', 0):,} wait for Kafka, "
        f"{watched.rss[-1] / 2**20:.0f} MB, {watched.restarts} restarts of Kafka"
    )


def main(
    minutes: Annotated[float, typer.Option(help="How long.", min=0.1)] = 20.0,
    rate: Annotated[float, typer.Option(help="Frames a second.", min=1)] = Soak.rate,
    disconnect: Annotated[
        float, typer.Option(help="Seconds after which a connection is ended.", min=0)
    ] = Soak.disconnect_s,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = RESULTS,
) -> None:
    """Soak a live feed; exits with 1 where a frame is missing or memory grew."""
    jars = kafka_artifacts()
    if jars is None:
        raise UsageError("a soak needs Java and Maven: apt-get install default-jre-headless maven.")
    plan, console = Soak(minutes * 60, rate, disconnect), Console()
    with tempfile.TemporaryDirectory(prefix="k2-soak-") as folder, console.status("") as status:
        broker = Path(folder) / "kafka"
        broker.mkdir()
        kafka = KafkaServer(jars, broker)
        try:
            kafka.start()
            result = soak(plan, kafka, Path(folder) / "home", lambda text: status.update(text))
        finally:
            kafka.stop()
    when = datetime.now(UTC).isoformat(timespec="seconds")
    told = {"measured_at": when, "machine": facts(), "settings": asdict(plan), **result}
    output.write_text(json.dumps(told, indent=2) + "\n")
    console.print_json(data=result)
    console.print(f"kept in {os.path.relpath(output)}")
    if not all(result["reached"].values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
