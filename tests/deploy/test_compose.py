"""docker-compose.yml says how K2 is deployed; its commands run as plain processes as well."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition

from k2_feeds.kafka.broker import start_broker
from k2_lake.engine import ENGINES
from tests.needs import CHECKOUT
from tests.services import S3Server, accepts, free_port, running, wait_until

COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
OPTIONAL = {name for name, service in SERVICES.items() if "profiles" in service}
ENV_FILE = CHECKOUT / "deploy" / "k2.env"


def env_file_names() -> set[str]:
    lines = ENV_FILE.read_text().splitlines()
    return {line.split("=")[0] for line in lines if line and not line.startswith("#")}


def test_it_runs_the_whole_platform() -> None:
    assert set(OURS) - OPTIONAL == {"code", "webserver", "daemon", "feeds", "api"}
    assert set(SERVICES) - set(OURS) - OPTIONAL == {"kafka", "postgres", "object-store"}


@pytest.mark.parametrize(
    ("profile", "services"),
    [
        ("typed", {"publish", "registry"}),
        # Started by tests/spark_cluster.py.
        ("spark", {"spark-master", "spark-worker", "spark-connect"}),
    ],
)
def test_what_is_not_for_everyone_is_in_a_profile_which_nothing_else_waits_for(
    profile: str, services: set[str]
) -> None:
    assert {name for name in OPTIONAL if SERVICES[name]["profiles"] == [profile]} == services
    waiting = {name for name, s in SERVICES.items() if services & set(s.get("depends_on", {}))}
    assert waiting <= services


def test_every_port_is_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_every_image_is_pinned() -> None:
    tags = {service["image"].partition(":")[2] for service in SERVICES.values()}
    assert not {"", "latest"} & tags


def test_the_image_is_the_one_of_the_engine() -> None:
    dockerfile = (CHECKOUT / "deploy/Dockerfile").read_text()
    for name in OURS:
        engine = "spark" if "spark" in name else "${K2_ENGINE:-duckdb}"
        assert SERVICES[name]["image"] == f"k2-market-data:0.1.0-{engine}"
        assert SERVICES[name]["build"]["target"] == engine
        assert SERVICES[name]["environment"]["K2_ENGINE"] == "${K2_ENGINE:-duckdb}"
    assert re.findall(r"^FROM .* AS (duckdb|spark)$", dockerfile, re.MULTILINE) == list(ENGINES)


def test_runs_ask_the_connect_server_which_works_on_the_cluster() -> None:
    found = {name: SERVICES[name]["environment"]["K2_SPARK_MASTER"] for name in OURS}
    cluster = {found.pop(name) for name in ("spark-connect", "spark-worker", "spark-master")}
    assert cluster == {"spark://spark-master:7077"}
    assert set(found.values()) == {"sc://spark-connect:15002"}


def test_whatever_is_published_or_waited_for_has_a_health_check() -> None:
    waited = {name for service in SERVICES.values() for name in service.get("depends_on", {})}
    published = {name for name, service in SERVICES.items() if "ports" in service}
    assert {n for n in waited | published | {"daemon"} if "healthcheck" not in SERVICES[n]} == set()


def test_services_start_when_what_they_need_is_healthy() -> None:
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES
            assert how == {"condition": "service_healthy"}
    assert set(SERVICES["api"]["depends_on"]) == {"kafka", "postgres", "object-store"}
    assert SERVICES["daemon"]["depends_on"] == {"code": {"condition": "service_healthy"}}


def test_runs_that_died_with_a_code_server_are_ended_before_the_next_one_starts() -> None:
    shell, _, command = SERVICES["code"]["command"]
    assert (shell, command.split(" && exec ")[0]) == ("sh", "k2 dagster ready")


def test_every_volume_is_declared() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith("./")}
    assert named == set(COMPOSE["volumes"])


def test_what_the_feeds_record_is_a_file_of_the_host_that_they_only_read() -> None:
    source, target, mode = SERVICES["feeds"]["volumes"][0].split(":")
    assert (CHECKOUT / source).is_file()
    assert (target, mode) == ("/opt/k2/instruments.yaml", "ro")


def test_secrets_come_from_the_environment() -> None:
    for name in OURS:
        environment = SERVICES[name]["environment"]
        assert environment["AWS_SECRET_ACCESS_KEY"].startswith("${AWS_SECRET_ACCESS_KEY:?")
        assert ":${K2_POSTGRES_PASSWORD}@" in environment["K2_CATALOG_URI"]
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & env_file_names()


def test_compose_replaces_addresses_and_nothing_else() -> None:
    secrets = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert set(SERVICES["code"]["environment"]) - secrets <= env_file_names()
    assert all(SERVICES[name]["env_file"] == "deploy/k2.env" for name in OURS)


def test_the_image_runs_as_nobody_special_on_locked_dependencies() -> None:
    lines = (CHECKOUT / "deploy/Dockerfile").read_text().splitlines()
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER k2", "USER root", "USER k2"]
    installed = [line for line in lines if line.startswith("RUN ") and "pip install" in line]
    assert all("--require-hashes" in line or "--no-deps -e ." in line for line in installed)
    froms = [line.split() for line in lines if line.startswith("FROM ")]
    stages = {words[-1] for words in froms}
    assert all(":" in base or base in stages for _, base, *_ in froms)


def test_docker_compose_accepts_the_file() -> None:
    if (
        not shutil.which("docker")
        or subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no docker with the compose plug-in here")
    secrets = {"K2_POSTGRES_PASSWORD": "x", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    checked = subprocess.run(
        ["docker", "compose", "config", "--quiet"],
        cwd=CHECKOUT,
        env={**os.environ, **secrets},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def environment_from_file(secrets: dict[str, str], folder: Path) -> dict[str, str]:
    """What a shell has after it has read the file, as the file's first lines tell users to."""
    script = f"set -a; . {shlex.quote(str(ENV_FILE))}; env -0"
    read = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=folder,
        env={**os.environ, "PWD": str(folder), **secrets},
        capture_output=True,
        check=True,
    )
    pairs = (line.partition("=") for line in read.stdout.decode().split("\0") if line)
    return {name: value for name, _, value in pairs}


def test_the_environment_file_is_read_by_a_shell_too(tmp_path: Path) -> None:
    environment = environment_from_file({"K2_POSTGRES_PASSWORD": "s3cret"}, tmp_path)
    assert environment["K2_HOME"] == f"{tmp_path}/.k2"
    assert environment["DAGSTER_HOME"] == f"{tmp_path}/.k2/dagster"
    uri = "postgresql+psycopg2://k2:s3cret@127.0.0.1:5432/k2"
    assert environment["K2_CATALOG_URI"] == environment["K2_DAGSTER_URI"] == uri


def with_services(environment: dict[str, str], database: str, store: S3Server) -> dict[str, str]:
    """The environment with this test's servers and free ports in place of the usual ones."""
    ports = ("K2_API_PORT", "DAGSTER_WEBSERVER_PORT", "DAGSTER_GRPC_PORT")
    return {
        **environment,
        **store.environment,
        **{name: str(free_port()) for name in ports},
        "K2_CATALOG_URI": database,
        "K2_DAGSTER_URI": database,
        "K2_WAREHOUSE": f"s3://{store.new_bucket()}/warehouse",
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
    }


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


class Deployment:
    """The services of the compose file as processes, each with a log of its own."""

    def __init__(self, folder: Path, environment: dict[str, str], stack: ExitStack) -> None:
        self.folder, self.environment, self.stack = folder, environment, stack
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str]) -> None:
        log = self.stack.enter_context((self.folder / f"{name}.log").open("wb"))
        options = {"cwd": CHECKOUT, "env": self.environment, "stdout": log, "stderr": log}
        self.processes[name] = self.stack.enter_context(running(command, **options))

    def start_services(self, *names: str) -> None:
        for name in names:
            self.start(name, SERVICES[name]["command"])

    def wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        def asked() -> bool:
            self.check_alive(name)
            return ready()

        wait_until(asked, name, timeout_s=90)

    def check_alive(self, name: str) -> None:
        if self.processes[name].poll() is not None:
            log = (self.folder / f"{name}.log").read_text(errors="replace")
            pytest.fail(f"{name} ended with {self.processes[name].returncode}:\n{log[-4000:]}")

    def succeeds(self, *command: str) -> bool:
        asked = subprocess.run(
            command, cwd=CHECKOUT, env=self.environment, capture_output=True, check=False
        )
        return asked.returncode == 0


def messages(bootstrap: str, topic: str) -> int:
    """How many messages the topic holds; 0 where it does not exist yet."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none"})
    try:
        found = consumer.list_topics(timeout=10).topics
        partitions = found[topic].partitions if topic in found else []
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, p), 10) for p in partitions]
        return sum(high - low for low, high in ends)
    finally:
        consumer.close()


@pytest.mark.postgres
@pytest.mark.s3
@pytest.mark.timeout(400)
def test_every_command_runs_as_a_process_and_answers(
    tmp_path: Path, postgres_database: str, s3_server: S3Server
) -> None:
    environment = environment_from_file({"K2_POSTGRES_PASSWORD": "unused"}, tmp_path)
    environment = with_services(environment, postgres_database, s3_server)
    home = Path(environment["DAGSTER_HOME"])
    home.mkdir(parents=True)
    shutil.copy(CHECKOUT / "deploy/dagster.yaml", home / "dagster.yaml")
    ports = ("K2_API_PORT", "DAGSTER_WEBSERVER_PORT", "DAGSTER_GRPC_PORT")
    api, webserver, code = (environment[name] for name in ports)
    exchanges = str(free_port())
    environment["K2_FEED_ENDPOINT"] = f"ws://127.0.0.1:{exchanges}"

    with ExitStack() as stack:
        broker = stack.enter_context(start_broker(tmp_path / "broker"))
        environment["K2_KAFKA_BOOTSTRAP"] = broker.address
        k2 = Deployment(tmp_path, environment, stack)
        k2.start("exchanges", [sys.executable, "-m", "k2_feeds.simulator", "--port", exchanges])
        k2.wait_for("exchanges", lambda: accepts(int(exchanges), k2.processes["exchanges"]))
        k2.start_services("feeds", "api", "code")
        k2.wait_for("code", lambda: k2.succeeds("dagster", "api", "grpc-health-check", "-p", code))
        k2.start_services("webserver", "daemon")
        k2.wait_for("api", lambda: answers(f"http://127.0.0.1:{api}/health/ready"))
        k2.wait_for("webserver", lambda: answers(f"http://127.0.0.1:{webserver}/server_info"))
        k2.wait_for("daemon", lambda: k2.succeeds("dagster-daemon", "liveness-check"))
        raw = "market.crypto.trades.binance.raw"
        k2.wait_for("feeds", lambda: messages(broker.address, raw) > 0)
        for name in set(OURS) - OPTIONAL:
            k2.check_alive(name)
