"""``python -m benchmarks.chaos.daemon``: what a killed run leaves in Dagster, and who tidies up.

The code server and the daemon run as `k2 demo` and docker-compose.yml run them. First the process
of a run is killed, then the code server with every process of its own, as a container that is
killed takes them with it; what docker-compose.yml runs before the next one starts is run then.
Nobody touches anything else, and in the end every table must hold what was produced.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from benchmarks.chaos.market import Market, Sent, produce
from benchmarks.chaos.truth import differences
from k2_assets.jobs import JOBS_OF
from k2_assets.resources import BROKER_FOLDER
from k2_cli.home import ROOT, environment, prepare_dagster
from k2_cli.instance import make_ready
from k2_cli.supervise import free_port, port_open
from k2_feeds.kafka.broker import start_broker
from k2_lake.catalog import Lake, LakeSettings
from k2_market.kinds import Kind

HOST = "127.0.0.1"
BIN = Path(sys.executable).parent
LONGEST_S = 600.0


class Platform:
    """Code server and daemon of a home, as processes that can be killed."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port(HOST)
        self.env = {
            **os.environ,
            **environment(home),
            "K2_CODE_HOST": HOST,
            "DAGSTER_GRPC_PORT": str(self.port),
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start_code_server(self) -> subprocess.Popen[bytes]:
        """Start it and wait until it answers."""
        grpc = ["dagster", "api", "grpc", "-m", "k2_sensors.definitions", "-h", HOST]
        process = self._start("code server", [*grpc, "-p", str(self.port)])
        wait_for(lambda: port_open(HOST, self.port), "the code server")
        return process

    def start_daemon(self) -> None:
        """Start it; it asks the code server."""
        workspace = str(ROOT / "deploy" / "workspace.yaml")
        self._start("daemon", ["dagster-daemon", "run", "-w", workspace])

    def ready(self) -> None:
        """What comes before the code server."""
        subprocess.run([str(BIN / "k2"), "dagster", "ready"], env=self.env, check=True)

    def end(self) -> None:
        """Kill what is left."""
        for process in self.processes:
            kill_group(process)

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                env=self.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """The process and its children, as they are."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(there: Callable[[], object], what: str) -> float:
    """Seconds until it was there. Raises TimeoutError."""
    began = time.monotonic()
    while not there():
        if time.monotonic() - began > LONGEST_S:
            raise TimeoutError(f"{what} did not come within {LONGEST_S:.0f} s")
        time.sleep(0.2)
    return time.monotonic() - began


def run_under_way(instance: dg.DagsterInstance) -> tuple[str, int] | None:
    """Id and process of a tick that has begun its first step."""
    for run in instance.get_runs(dg.RunsFilter(job_name=JOBS_OF[Kind.TRADES].tick)):
        if run.status is not dg.DagsterRunStatus.STARTED:
            continue
        logs = instance.all_logs(run.run_id)
        pids = [_pid(entry) for entry in logs]
        begun = any(e.dagster_event and e.dagster_event.is_step_start for e in logs)
        if begun and any(pids):
            return run.run_id, next(p for p in pids if p)
    return None


def _pid(entry: dg.EventLogEntry) -> int | None:
    data = entry.dagster_event.event_specific_data if entry.dagster_event else None
    metadata = getattr(data, "metadata", None) or {}
    return int(metadata["pid"].value) if "pid" in metadata else None


def survive(home: Path, tell: Callable[[str], None]) -> dict[str, float]:
    """Seconds from each kill until Dagster knew of it, and until every table was complete."""
    prepare_dagster(home)
    rng = random.Random(5)
    market, sent, told = Market(rng, datetime.now(UTC).date()), list[Sent](), {}
    lake = Lake(LakeSettings.from_environment({}, home))
    platform = Platform(home)
    os.environ.update(environment(home))
    with start_broker(home / BROKER_FOLDER) as broker, dg.DagsterInstance.get() as instance:
        make_ready(instance)

        def complete() -> bool:
            return not any(differences(lake, sent).values())

        try:
            server = platform.start_code_server()
            platform.start_daemon()
            for what in ("run", "code server"):
                sent += produce(broker.settings, market.batch(40))
                tell(f"waiting for a run to kill its {what}")
                wait_for(lambda: run_under_way(instance), "a run")
                killed, pid = run_under_way(instance) or ("", 0)
                began = time.monotonic()
                if what == "run":
                    os.kill(pid, signal.SIGKILL)
                else:
                    kill_group(server)
                    platform.ready()
                    server = platform.start_code_server()
                wait_for(lambda run=killed: is_over(instance, run), "the end of the run")
                told[f"{what} killed: known after s"] = round(time.monotonic() - began, 1)
                wait_for(complete, "what was produced")
                told[f"{what} killed: complete after s"] = round(time.monotonic() - began, 1)
                tell(str(told))
        finally:
            platform.end()
    return told


def is_over(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether Dagster counts the run as ended."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.is_finished


def main() -> None:
    """Print the seconds."""
    with tempfile.TemporaryDirectory(prefix="k2-daemon-") as folder:
        print(survive(Path(folder), print))


if __name__ == "__main__":
    main()
