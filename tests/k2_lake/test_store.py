"""What the environment says of the store, what is refused, and that no secret is ever shown."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from k2_lake.catalog import Lake, LakeSettings
from k2_lake.store import catalog_uri, speak_plainly, store_properties, without_password
from k2_lake.tables import TRADES_TABLE
from k2_market.errors import K2Error, UsageError
from tests.s3proxy_server import s3proxy
from tests.services import S3Server, free_port

PASSWORD, SECRET, TOKEN = "pa55w0rd-of-the-catalog", "s3cr3t-of-the-store", "t0ken-of-the-session"
SECRETS = (PASSWORD, SECRET, TOKEN)


def test_the_store_is_what_the_variables_say() -> None:
    assert store_properties({}) == {}
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}
    assert store_properties({**keys, "AWS_DEFAULT_REGION": "us", "AWS_REGION": "eu"}) == {
        "s3.region": "eu",
        "s3.access-key-id": "id",
        "s3.secret-access-key": SECRET,
        "s3.session-token": TOKEN,
    }
    own = {"K2_S3_ENDPOINT": "https://minio:9000", "K2_S3_REGION": "home", "AWS_REGION": "eu"}
    found = {"s3.endpoint": "https://minio:9000", "s3.region": "home"}
    assert store_properties({**own, "AWS_SESSION_TOKEN": ""}) == found


def test_an_endpoint_without_a_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match=r"K2_S3_ENDPOINT is 'minio:9000'.* https://"):
        store_properties({"K2_S3_ENDPOINT": "minio:9000"})


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql+psycopg2://k2:{PASSWORD}@host:port/k2",
        f"postgresql+psycopg2://k2:a@{PASSWORD}@host/k2",
        f"postgresql+psycopg2://k2:a@b/{PASSWORD}@host/k2",
        f"mysql://k2:{PASSWORD}@host/k2",
        f"host={PASSWORD}",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="K2_CATALOG_URI is no address") as refused:
        catalog_uri(text)
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))


def test_an_address_is_shown_without_its_password() -> None:
    uri = f"postgresql+psycopg2://k2:{PASSWORD}@host:5432/k2"
    assert without_password(uri) == "postgresql+psycopg2://k2:***@host:5432/k2"
    assert PASSWORD not in without_password(f"postgresql://k2@host/k2?password={PASSWORD}")
    assert without_password("sqlite:////home/k2/catalog.db?timeout=30").startswith("sqlite:////")
    settings = LakeSettings.from_environment({"K2_CATALOG_URI": uri}, Path("/home/k2"))
    assert PASSWORD not in repr(settings) + settings.shown_catalog
    assert settings.catalog_uri == catalog_uri(uri) == uri


def test_uploads_are_plain_where_the_store_is_not_amazons(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "AWS_REQUEST_CHECKSUM_CALCULATION"
    monkeypatch.delenv(variable, raising=False)
    speak_plainly({"s3.region": "eu-central-1"})
    assert variable not in os.environ
    speak_plainly({"s3.endpoint": "http://minio:9000"})
    assert os.environ[variable] == "when_required"
    monkeypatch.setenv(variable, "when_supported")
    speak_plainly({"s3.endpoint": "http://minio:9000"})
    assert os.environ[variable] == "when_supported"


def secretive(home: Path, **told: str) -> Lake:
    """A lake whose every secret is known, with some of the addresses wrong."""
    env = {
        "K2_CATALOG_URI": f"sqlite:///{home}/catalog.db?password={PASSWORD}",
        "K2_WAREHOUSE": "s3://nowhere/lake",
        "K2_S3_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "K2_S3_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "k2-test-key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": TOKEN,
    }
    return Lake(LakeSettings.from_environment(env | told, home))


def _nobody_listens(home: Path, server: S3Server) -> Lake:
    address = f"postgresql+psycopg2://k2:{PASSWORD}@127.0.0.1:{free_port()}/k2"
    return secretive(home, K2_CATALOG_URI=address)


def _wrong_key(home: Path, server: S3Server) -> Lake:
    warehouse = f"s3://{server.new_bucket()}/lake"
    uri = f"sqlite:///{home}/catalog.db?timeout=30"
    told = {"K2_S3_ENDPOINT": server.endpoint, "K2_WAREHOUSE": warehouse, "K2_CATALOG_URI": uri}
    return secretive(home, **told)


@pytest.mark.s3proxy
@pytest.mark.parametrize("broken", [_nobody_listens, _wrong_key])
def test_no_error_shows_a_secret(
    tmp_path: Path,
    broken: Callable[[Path, S3Server], Lake],
    s3proxy_server: S3Server,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    lake = broken(tmp_path, s3proxy_server)
    with pytest.raises(K2Error, match="cannot be opened") as failed:
        lake.table(TRADES_TABLE)
    shown = [*traceback.format_exception(failed.value), caplog.text, *capfd.readouterr()]
    shown += [repr(lake), repr(lake.settings), repr(lake.io), str(vars(failed.value))]
    assert [secret for secret in SECRETS if secret in "".join(shown)] == []


ONE_FRAME = """
import os, sys
from pathlib import Path
from tests.frames import Print
from tests.lakes import LakeDriver
driver = LakeDriver(Path(sys.argv[1]), os.environ)
driver.receive([Print(1, 0, "10", "1")])
print(len(driver.rows("bronze.binance_trades")))
"""


@pytest.mark.s3proxy
def test_a_store_that_speaks_tls_is_trusted_by_its_own_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "ca.pem"
    (tmp_path / "server").mkdir()
    with s3proxy(tmp_path / "server", certificate=certificate) as server:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))  # for the test's own client
        warehouse = {"K2_WAREHOUSE": f"s3://{server.new_bucket()}/lake"}
        told = {**os.environ, **server.environment, **warehouse}
        told |= {"SSL_CERT_FILE": str(certificate)}
        command = [sys.executable, "-c", ONE_FRAME, str(tmp_path / "home")]
        done = subprocess.run(command, env=told, capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr
