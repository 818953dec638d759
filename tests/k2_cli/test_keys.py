from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from k2_api.guard.keys import Keys, read_keys
from k2_cli.main import app
from k2_market.errors import UnknownName, UsageError


def keys(home: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["keys", *arguments, "--home", str(home)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_key_is_printed_once_listed_without_its_secret_and_revoked(tmp_path: Path) -> None:
    made = keys(
        tmp_path, "create", "research", "--scope", "read", "--scope", "live", "--rate", "9/second"
    )
    text = made.stdout.strip()
    key = Keys(tmp_path).known(text)
    assert key is not None
    assert (key.name, key.scopes, key.rate) == ("research", ("read", "live"), "9/second")
    assert "not shown again" in made.stderr
    listed = keys(tmp_path, "list").stdout
    for shown in ("research", key.id, "read,live", "9/second"):
        assert shown in listed
    assert text not in listed
    assert key.sha256 not in listed
    assert "revoked research" in keys(tmp_path, "revoke", "research").stdout
    assert Keys(tmp_path).known(text) is None
    assert read_keys(tmp_path) == ()
    assert "k2 keys create" in keys(tmp_path, "list").stdout


def test_mistakes_are_told_with_the_next_step(tmp_path: Path) -> None:
    keys(tmp_path, "create", "one")
    for arguments, error, says in (
        (("create", "one"), UsageError, "k2 keys revoke one"),
        (("create", "two", "--scope", "write"), UnknownName, "batch, export, live, read, state"),
        (("create", "two", "--rate", "often"), UsageError, "100/minute"),
        (("revoke", "three"), UnknownName, "Known: one"),
    ):
        with pytest.raises(error, match=says):
            keys(tmp_path, *arguments)


def test_an_api_that_nobody_has_a_key_for_says_how_to_make_one(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("k2")), "api", "--home", str(tmp_path)]
    with subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, env={**os.environ}
    ) as process:
        try:
            assert process.stdout is not None
            assert b"K2 API on http://127.0.0.1:" in process.stdout.readline()
            told = process.stdout.readline().decode().split(": ", 1)[1]
            assert told.strip() == f"k2 keys create --home {tmp_path} NAME"
        finally:
            process.terminate()
        assert process.wait(20) in (0, 143, -15)
