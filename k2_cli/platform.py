"""The whole platform as processes of one machine: started, shown, watched, drained and stopped."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from k2_api.page.serve import DAGSTER_VARIABLE
from k2_assets.day_condition import INSTRUMENTS_VARIABLE
from k2_assets.ingest import drain
from k2_assets.instruments import REST_ENDPOINT
from k2_assets.resources import BROKER_FOLDER
from k2_cli.candles import recent_candles
from k2_cli.home import ROOT, environment, locked_home, prepare_dagster
from k2_cli.instance import make_ready
from k2_cli.selection import listed_symbols, read_file
from k2_cli.supervise import Service, Supervisor, answers, free_port, port_open, require_free
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import KafkaSettings, from_environment
from k2_feeds.selection import Recorded
from k2_lake.catalog import Lake, LakeSettings
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind

HOST = "127.0.0.1"
BIN = Path(sys.executable).parent
FIRST_CANDLES_S = 120.0
ONE_MINUTE = timedelta(minutes=1)
WATCH_S = 0.5
TITLE = "gold.ohlcv_1m, the newest minute"
DEMO_KEY, DEMO_RATE = "demo", "6000/minute"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Ports:
    """The ports of the services, all on loopback."""

    dagster: int
    api: int
    code: int
    simulator: int


def run_platform(
    home: Path, instruments: Path, *, live: bool, dagster_port: int, api_port: int
) -> None:
    """Start everything, show candles and addresses, and run until Ctrl-C or SIGTERM.

    ``instruments`` is the file of what is recorded. Raises HomeInUse, UsageError for a taken port
    or what that file says, ServiceFailed when a process ends by itself.
    """
    console = Console()
    settings = LakeSettings.from_environment(os.environ, home)
    recorded = read_file(instruments, listed_symbols(settings) if live else {})
    require_free(HOST, dagster_port, "--dagster-port")
    require_free(HOST, api_port, "--api-port")
    ports = Ports(dagster_port, api_port, free_port(HOST), free_port(HOST))
    with _stoppable(), locked_home(home) as locked, _broker(locked) as kafka:
        prepare_dagster(locked)
        lake = Lake(LakeSettings.from_environment(os.environ, locked))
        env = {**environment(locked), "K2_CODE_HOST": HOST, "DAGSTER_GRPC_PORT": str(ports.code)}
        env[INSTRUMENTS_VARIABLE] = str(instruments.absolute())
        env[DAGSTER_VARIABLE] = f"http://{HOST}:{dagster_port}"
        env |= {} if live else {REST_ENDPOINT: f"http://{HOST}:{ports.simulator}"}
        os.environ.update(env)
        with Supervisor(locked / "logs", env) as services:
            try:
                feed = ["--instruments", str(instruments.absolute())]
                simulator = None if live else _simulator(ports, recorded)
                key = _demo_key(locked)
                _start(services, _services(locked, ports, feed, simulator), console)
                _show(lake, services, ports, key, console)
                _watch(services)
            except KeyboardInterrupt:
                console.print("stopping: feeds first, then what Kafka still holds, then the rest")
            finally:
                services.stop("feeds")
                _drain(lake, kafka)


@contextmanager
def _broker(home: Path) -> Iterator[KafkaSettings]:
    settings = from_environment(os.environ)
    if settings is not None:
        yield settings
        return
    with start_broker(home / BROKER_FOLDER) as broker:
        yield broker.settings


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does, once: a second one must not leave half of it running.

    Both are asked for, because a shell has its background commands ignore SIGINT.
    """

    def stop(_signum: int, _frame: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [(number, signal.signal(number, stop)) for number in STOP_SIGNALS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _simulator(ports: Ports, recorded: Sequence[Recorded]) -> Service:
    """The exchanges on loopback, with whatever is recorded of them trading there."""
    symbols = ",".join(dict.fromkeys(s for r in recorded for s in r.symbols))
    command = [
        "-m",
        "k2_feeds.simulator",
        "--port",
        str(ports.simulator),
        "--symbols",
        symbols,
    ]
    return Service(
        "simulator", [sys.executable, *command], lambda: port_open(HOST, ports.simulator)
    )


def _services(
    home: Path, ports: Ports, options: Sequence[str], simulator: Service | None
) -> list[Service]:
    """All services in the order of their start; ``options`` are those of the feeds."""
    workspace = ["-w", str(ROOT / "deploy" / "workspace.yaml")]
    feed = [str(BIN / "k2"), "feed", "--home", str(home), *options]
    if simulator is not None:
        feed += ["--endpoint", f"ws://{HOST}:{ports.simulator}"]
    return [
        Service(
            "code server",
            [
                str(BIN / "dagster"),
                "api",
                "grpc",
                "-m",
                "k2_sensors.definitions",
                "-h",
                HOST,
                "-p",
                str(ports.code),
            ],
            lambda: port_open(HOST, ports.code),
        ),
        *([] if simulator is None else [simulator]),
        Service("feeds", feed, lambda: True),
        Service(
            "api",
            [str(BIN / "k2"), "api", "--home", str(home), "--host", HOST, "--port", str(ports.api)],
            lambda: answers(f"http://{HOST}:{ports.api}/health/live"),
        ),
        Service(
            "webserver",
            [str(BIN / "dagster-webserver"), "-h", HOST, "-p", str(ports.dagster), *workspace],
            lambda: answers(f"http://{HOST}:{ports.dagster}/server_info"),
        ),
        Service("daemon", [str(BIN / "dagster-daemon"), "run", *workspace], lambda: True),
    ]


def _start(services: Supervisor, wanted: Sequence[Service], console: Console) -> None:
    """Start all at once but those that ask the code server, which must answer first."""
    import dagster as dg

    with console.status("starting") as status:
        with dg.DagsterInstance.get() as instance:
            make_ready(instance)
        for service in wanted:
            status.update(f"starting the {service.name}")
            services.start(service)
            if service.name in ("code server", "simulator"):
                services.wait_ready(service)
        for service in wanted:
            status.update(f"waiting for the {service.name}")
            services.wait_ready(service)


def _show(lake: Lake, services: Supervisor, ports: Ports, key: str, console: Console) -> None:
    since = datetime.now(UTC) - ONE_MINUTE
    with console.status("waiting for the first candles: frames, tick, checks"):
        deadline = time.monotonic() + FIRST_CANDLES_S
        while not (candles := recent_candles(lake, since)) and time.monotonic() < deadline:
            services.check()
            time.sleep(0.5)
    console.print(_table(candles) if candles else "no candle yet; the Dagster UI shows why")
    console.print(f"Candles   http://{HOST}:{ports.api}/#key={key}", soft_wrap=True)
    console.print(f"Dagster   http://{HOST}:{ports.dagster}   lineage, runs, backfills")
    console.print(f"REST      http://{HOST}:{ports.api}/docs")
    console.print(f"API key   {key}", soft_wrap=True)
    query = '"select * from gold.ohlcv_1m"'
    console.print(f"SQL       {BIN / 'k2'} sql --home {lake.settings.home} {query}")
    console.print(f"Logs      {services.log('feeds').parent}")
    console.print("Ctrl-C stops everything.")


def _demo_key(home: Path) -> str:
    """A key of this run, for its own page and whoever tries the API; the last run's is revoked."""
    from k2_api.guard.keys import SCOPES, replace_key

    return replace_key(home, DEMO_KEY, SCOPES, DEMO_RATE)


def _table(candles: Sequence[dict[str, object]]) -> Table:
    # As narrow as it gets: 80 columns, which is what a log has, hold every digit of most volumes.
    table = Table(title=TITLE, box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for name in candles[0]:
        table.add_column(name, justify="left" if name in ("exchange", "symbol") else "right")
    for candle in candles:
        table.add_row(*(str(value) for value in candle.values()))
    return table


def _watch(services: Supervisor) -> None:
    while True:
        services.check()
        time.sleep(WATCH_S)


def _drain(lake: Lake, kafka: KafkaSettings) -> None:
    """The embedded broker forgets when it stops: bronze takes over first what it still holds."""
    if kafka.embedded:
        for kind in Kind:
            for exchange in EXCHANGES:
                drain(lake, kafka, exchange, kind)
