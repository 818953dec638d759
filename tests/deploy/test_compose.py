"""docker-compose.yml says how K2 is deployed; its commands run as plain processes as well."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.needs import CHECKOUT
from tests.services import S3Server, free_port, running, wait_until

COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]
ENV_FILE = CHECKOUT / "deploy" / "k2.env"


def env_file_names() -> set[str]:
    lines = ENV_FILE.read_text().splitlines()
    return {line.split("=")[0] for line in lines if line and not line.startswith("#")}


def test_it_runs_the_whole_platform() -> None:
    assert set(OURS) == {"code", "webserver", "daemon", "feeds", "api"}
    assert set(SERVICES) - set(OURS) == {"kafka", "postgres", "object-store"}


def test_every_port_is_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_every_image_is_pinned() -> None:
    tags = {service["image"].partition(":")[2] for service in SERVICES.values()}
    assert not {"", "latest"} & tags
    assert len({SERVICES[name]["image"] for name in OURS}) == 1


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


def test_every_volume_is_declared() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {mount.split(":")[0] for mount in mounts} == set(COMPOSE["volumes"])


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
    assert users == ["USER k2"]
    assert any("--require-hashes" in line for line in lines)
    assert all(":" in line for line in lines if line.startswith("FROM "))


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


@pytest.mark.postgres
@pytest.mark.s3
@pytest.mark.timeout(300)
def test_every_command_runs_as_a_process_and_answers(
    tmp_path: Path, postgres_database: str, s3_server: S3Server
) -> None:
    from k2_feeds.simulator import start_simulator  # the exchanges, on loopback

    from k2_feeds.broker import start_broker

    secrets = {"K2_POSTGRES_PASSWORD": "unused"}
    environment = environment_from_file(secrets, tmp_path)
    environment = with_services(environment, postgres_database, s3_server)
    home = Path(environment["DAGSTER_HOME"])
    home.mkdir(parents=True)
    shutil.copy(CHECKOUT / "deploy/dagster.yaml", home / "dagster.yaml")

    with ExitStack() as stack:
        broker = stack.enter_context(start_broker(tmp_path / "broker"))
        environment["K2_KAFKA_BOOTSTRAP"] = broker.address
        environment.update(stack.enter_context(start_simulator()).environment)
        processes = {}

        def start(name: str) -> None:
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            options = {"cwd": CHECKOUT, "env": environment, "stdout": log, "stderr": log}
            processes[name] = stack.enter_context(running(SERVICES[name]["command"], **options))

        def ready(name: str, url_or_command: str | list[str]) -> None:
            def asked() -> bool:
                if processes[name].poll() is not None:
                    raise AssertionError((tmp_path / f"{name}.log").read_text()[-4000:])
                if isinstance(url_or_command, str):
                    return answers(url_or_command)
                check = subprocess.run(
                    url_or_command, cwd=CHECKOUT, env=environment, capture_output=True, check=False
                )
                return check.returncode == 0

            wait_until(asked, name, timeout_s=90)

        start("code")
        start("feeds")
        start("api")
        ready(
            "code", ["dagster", "api", "grpc-health-check", "-p", environment["DAGSTER_GRPC_PORT"]]
        )
        start("webserver")
        start("daemon")
        ready("api", f"http://127.0.0.1:{environment['K2_API_PORT']}/health")
        ready("webserver", f"http://127.0.0.1:{environment['DAGSTER_WEBSERVER_PORT']}/server_info")
        ready("daemon", ["dagster-daemon", "liveness-check"])
        assert processes["feeds"].poll() is None, (tmp_path / "feeds.log").read_text()[-4000:]
