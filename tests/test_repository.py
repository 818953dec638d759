"""The repository keeps its own promises: locks, hosts, paths, contracts, instance files."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance

from tests.needs import CHECKOUT

LOCKS = ("requirements.lock", "deploy/requirements.lock", "requirements-dev.lock")
SPARK_LOCK = "requirements-spark.lock"
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PACKAGES = tuple(PROJECT["tool"]["importlinter"]["root_packages"])

# Written apart, so that this file does not find itself.
_REGISTRIES = ("py" + "pi.org", "python" + "hosted", "art" + "ifactory", "dev" + "pi/")
_MACHINE_PATH = re.compile(r"(?<![\w.])/(?:ro" + r"ot|wo" + r"rk|Users|home/(?!k2\b)\w+)/")


def pins(lock: str) -> dict[str, str]:
    """Package to version, as a lock file has it."""
    found = re.findall(
        r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)", (CHECKOUT / lock).read_text(), re.MULTILINE
    )
    return dict(found)


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = (CHECKOUT / name for name in listed.stdout.decode().split("\0") if name)
    return [file for file in files if file.is_file()]


def test_no_tracked_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found = []
    for file in tracked_files():
        text = file.read_bytes().decode(errors="ignore")
        found += [f"{file}: {host}" for host in _REGISTRIES if host in text.lower()]
        found += [f"{file}: {match[0]}" for match in _MACHINE_PATH.finditer(text)]
    assert found == []


@pytest.mark.parametrize("lock", [*LOCKS, SPARK_LOCK])
def test_a_lock_is_only_versions_and_hashes(lock: str) -> None:
    text = (CHECKOUT / lock).read_text()
    assert "://" not in text
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[\w.-]+(\[.*\])?==", block) for block in blocks)
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_locks_agree_on_every_version() -> None:
    product, image, dev = (pins(lock) for lock in LOCKS)
    assert product.items() <= image.items() <= dev.items()


def test_spark_comes_on_top_of_the_product_and_changes_no_version_of_it() -> None:
    product, spark, dev = (pins(lock) for lock in ("requirements.lock", SPARK_LOCK, LOCKS[-1]))
    assert product.items() <= spark.items()
    assert all(dev[name] == spark[name] for name in spark.keys() & dev.keys())
    assert spark["pyspark"].startswith("4.1.")


def test_the_product_lock_holds_all_that_is_declared_and_neither_spark_nor_tests() -> None:
    product = pins("requirements.lock")
    declared = {re.split(r"[\[<>=;]", each)[0] for each in PROJECT["project"]["dependencies"]}
    assert declared <= product.keys()
    assert not {"pyspark", "pytest", "moto", "ruff"} & product.keys()
    assert "pyspark" not in pins("requirements-dev.lock")


def test_no_file_of_the_product_is_longer_than_300_lines() -> None:
    files = [file for package in PACKAGES for file in (CHECKOUT / package).rglob("*.py")]
    lengths = {str(file): file.read_text().count("\n") for file in files}
    assert {name: lines for name, lines in lengths.items() if lines > 300} == {}


def test_every_package_is_under_the_import_contract() -> None:
    assert {file.parent.name for file in CHECKOUT.glob("k2_*/__init__.py")} == set(PACKAGES)


def lint_imports(folder: Path, imports: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The import contract, run on packages that consist of the given imports alone."""
    (folder / "pyproject.toml").write_text((CHECKOUT / "pyproject.toml").read_text())
    for package in (*PACKAGES, "k2_feeds/adapters"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
    (folder / "k2_feeds/adapters/venue.py").touch()
    for module, line in imports.items():
        (folder / f"{module}.py").write_text(f"{line}\n")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_import_contract_lets_the_design_through(tmp_path: Path) -> None:
    designed = {
        "k2_feeds/frame": "import confluent_kafka, k2_market",
        "k2_lake/scan": "import duckdb, pyiceberg, k2_market",
        "k2_feeds/adapters/__init__": "from k2_feeds.adapters import venue",
        "k2_assets/bronze": "import dagster, k2_lake.scan, k2_feeds.kafka.frame",
        "k2_sensors/lag": "import dagster, k2_assets.bronze, k2_lake.scan",
        "k2_api/app": "import fastapi, k2_lake.scan, k2_feeds.kafka.frame",
        "k2_client/query": "import httpx2, pyarrow, k2_market",
        "k2_cli/main": "import k2_client.query, k2_api.app, k2_sensors.lag, dagster, fastapi",
    }
    kept = lint_imports(tmp_path, designed)
    assert kept.returncode == 0, kept.stdout


def test_the_import_contract_sees_every_breach(tmp_path: Path) -> None:
    breaches = {
        "k2_market/up": "import k2_lake",
        "k2_api/graph": "import k2_assets",
        "k2_market/io": "import confluent_kafka",
        "k2_feeds/table": "import pyiceberg",
        "k2_lake/log": "import websockets",
        "k2_assets/web": "import fastapi",
        "k2_sensors/data": "import duckdb",
        "k2_api/run": "import dagster",
        "k2_client/table": "import k2_lake",
        "k2_feeds/adapters/venue": "import time",
        "k2_feeds/session": "from k2_feeds.adapters import venue",
    }
    broken = lint_imports(tmp_path, breaches)
    contracts = [contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]
    kept = [name for name in contracts if f"{name} BROKEN" not in broken.stdout]
    assert kept == [], broken.stdout


def test_the_instance_file_loads_and_keeps_everything_in_its_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster.yaml").write_text((CHECKOUT / "dagster.yaml").read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with DagsterInstance.get() as instance:
        pools = instance.get_concurrency_config().pool_config
        assert pools.default_pool_limit == 1
        assert instance.run_monitoring_enabled
        assert instance.telemetry_enabled is False
        assert instance.storage_directory().startswith(str(tmp_path))


def test_the_deployment_differs_from_it_in_its_storage_alone() -> None:
    local = yaml.safe_load((CHECKOUT / "dagster.yaml").read_text())
    deployed = yaml.safe_load((CHECKOUT / "deploy/dagster.yaml").read_text())
    assert deployed.pop("storage") == {"postgres": {"postgres_url": {"env": "K2_DAGSTER_URI"}}}
    assert deployed == local
