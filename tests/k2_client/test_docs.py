"""Every example of docs/client.md runs against the real API."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from k2_cli.main import app
from k2_client import K2
from tests.frames import Print
from tests.k2_api.live.hand_fed import Served, served
from tests.lakes import LakeDriver
from tests.needs import CHECKOUT

PAGE = (CHECKOUT / "docs/client.md").read_text()


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The live routes, over twelve trades."""
    driver = LakeDriver(tmp_path_factory.mktemp("streaming"))
    driver.receive([Print(n, n * 10, "10", "1") for n in range(1, 13)])
    driver.tick()
    with served(driver) as running:
        yield running


@pytest.fixture
def here(address: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("K2_API_URL", address)
    monkeypatch.setenv("K2_API_KEY", key)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_python_example_runs(
    here: Path, streaming: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(code, "docs/client.md", "exec"), names)
    assert names["candles"].schema["close"] == pl.Decimal(18, 8)
    assert names["table"].num_rows == names["frame"].height == names["size"].rows == 61
    assert pl.read_parquet(here / "btc.parquet").equals(names["frame"])
    assert [row.trade_id for row in names["rows"][:2]] == ["5000", "60"]
    assert len(names["same"].to_list()) == 61
    assert names["day"].date.isoformat() == "2024-08-08"
    assert "unknown_exchange unknown exchange 'binanse'. Known: binance" in capsys.readouterr().out
    names["k2"].close()
    with K2(f"http://127.0.0.1:{streaming.port}", streaming.key) as names["k2"]:
        assert asyncio.run(names["watch"](3))[:3] == ["10.00000000"] * 3


COMMANDS = re.findall(r"^k2 query .*$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", [c for c in COMMANDS if "query live" not in c])
def test_every_command_runs(here: Path, line: str) -> None:
    done = CliRunner().invoke(app, shlex.split(line)[1:])
    assert done.exit_code == 0, (done.output, done.exception)
    assert done.stdout or (here / "candles.parquet").stat().st_size > 0


def test_the_live_command_runs(here: Path, streaming: Served) -> None:
    [line] = [c for c in COMMANDS if "query live" in c]
    where = ["--url", f"http://127.0.0.1:{streaming.port}", "--key", streaming.key]
    done = CliRunner().invoke(app, [*shlex.split(line)[1:], "--start", "2024-08-08", *where])
    assert done.exit_code == 0, (done.output, done.exception)
    assert len(done.stdout.splitlines()) == 10
