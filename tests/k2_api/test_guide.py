"""Every command of docs/api.md does what the page says, with curl, against the real API."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from k2_api.app import create_app
from tests.api_server import serving
from tests.k2_api.lake_of_everything import lake_of_everything
from tests.keyed import fast_key
from tests.needs import CHECKOUT

PAGE = (CHECKOUT / "docs/api.md").read_text()
COMMANDS = re.findall(r"^curl -s .*$", PAGE, re.MULTILINE)
REFUSED = {"exchange=binanse": 404, 'curl -s "$API/v1/trades"': 401}
# Nobody has asked the exchanges what they list, and no ours differs from theirs, in this lake.
EMPTY = ("/v1/instruments", "outcome=differs")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    lake = lake_of_everything(tmp_path_factory.mktemp("guide"))
    with serving(create_app(lake.settings)) as address:
        yield {**os.environ, "API": address, "KEY": fast_key(lake.settings)}


@pytest.mark.skipif(shutil.which("curl") is None, reason="apt-get install curl")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.partition("$API")[2][:60])
def test_a_command_answers_as_the_guide_says(
    environment: dict[str, str], tmp_path: Path, command: str
) -> None:
    quiet = command.replace("-s ", "-s -w '\\n%{http_code}' ", 1)
    done = subprocess.run(
        ["sh", "-c", quiet],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    body, _, status = done.stdout.rpartition("\n")
    expected = next((code for part, code in REFUSED.items() if part in command), 200)
    assert int(status) == expected, body
    if expected != 200:
        assert json.loads(body)["status"] == expected
    elif "format=parquet" in command:
        assert (tmp_path / "btc.parquet").read_bytes()[:4] == b"PAR1"
    elif "-i " in command:
        assert 'etag: W/"' in body
    elif "text/csv" in command:
        assert body.startswith("exchange,symbol,window_start")
    elif "/replay" in command:
        assert json.loads(body.splitlines()[-1])["type"] == "end"
    else:
        assert bool(json.loads(body)["data"]) is not any(part in command for part in EMPTY)


def test_the_guide_names_every_route(environment: dict[str, str]) -> None:
    done = subprocess.run(["curl", "-s", f"{environment['API']}/openapi.json"], capture_output=True)
    paths = json.loads(done.stdout)["paths"]
    # What a path holds stands before its parameter; of counts the page speaks once.
    told = {path.split("{")[0].removesuffix("/count") for path in paths if path.startswith("/v1")}
    missing = {path for path in told if path not in PAGE}
    assert missing == set()
