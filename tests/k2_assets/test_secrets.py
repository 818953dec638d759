"""Runs know where the lake is from the environment alone: no secret of it reaches Dagster."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from k2_cli.main import app
from k2_lake.tables import TRADES_TABLE
from tests.frames import DAY0, Print
from tests.graphs import run_job
from tests.lakes import LakeDriver
from tests.services import S3Server, create_database, free_port

PASSWORD, TOKEN = "pa55w0rd-of-the-catalog", "t0ken-of-the-session"
TODAY = DAY0.date()


@pytest.fixture
def environment(
    postgres_server: str, s3proxy_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """A deployment that signs in with secrets; every variable of it is set."""
    catalog = create_database(postgres_server, "k2_secrets").replace("k2@", f"k2:{PASSWORD}@")
    warehouse = f"s3://{s3proxy_server.new_bucket()}/lake"
    env = {**s3proxy_server.environment, "K2_CATALOG_URI": catalog, "K2_WAREHOUSE": warehouse}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


def everything_told(instance: dg.DagsterInstance) -> str:
    """Events with their errors, run configuration and tags: all that the pages can show."""
    told = []
    for run in instance.get_runs():
        told += [repr(run), repr(run.run_config), repr(run.tags)]
        told += [entry.to_json() for entry in instance.all_logs(run.run_id)]
    return "".join(told)


@pytest.mark.postgres
@pytest.mark.s3proxy
def test_no_run_tells_a_secret_whether_it_succeeds_or_fails(
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    driver = LakeDriver(tmp_path, environment)
    driver.receive([Print(1, 0, "10", "1")])
    driver.tick()
    secrets = (PASSWORD, TOKEN, environment["AWS_SECRET_ACCESS_KEY"])
    with dg.DagsterInstance.ephemeral() as instance:
        assert run_job(tmp_path, "trade_day", TODAY, instance).success
        down = environment["K2_CATALOG_URI"].rpartition("@")[0] + f"@127.0.0.1:{free_port()}/k2"
        monkeypatch.setenv("K2_CATALOG_URI", down)
        assert not run_job(tmp_path, "trade_day", TODAY, instance).success
        monkeypatch.setenv("K2_CATALOG_URI", environment["K2_CATALOG_URI"])
        monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"not-{secrets[-1]}")
        refused = run_job(tmp_path, "trade_day", TODAY, instance)
        looked = CliRunner().invoke(app, ["doctor", "--home", str(tmp_path)])
        told = everything_told(instance)
    assert TRADES_TABLE in told
    assert "cannot be opened" in told
    assert "store" in looked.output
    shown = "".join([told, looked.output, repr(looked.exception), caplog.text, *capfd.readouterr()])
    assert [secret for secret in secrets if secret in shown] == []
    assert refused.success is False
