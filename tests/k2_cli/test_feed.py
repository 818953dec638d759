from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from k2_cli.main import app
from k2_cli.selection import read_file, selection_file
from k2_market.errors import UsageError
from tests.needs import CHECKOUT

ONE = "exchanges: {kraken: {kinds: [trades], symbols: [BTC-USD]}}"


def test_a_given_file_goes_before_the_homes_and_that_before_the_one_k2_comes_with(
    tmp_path: Path,
) -> None:
    given, of_home = tmp_path / "given.yaml", tmp_path / "instruments.yaml"
    assert selection_file(tmp_path, None) == CHECKOUT / "instruments.yaml"
    of_home.write_text(ONE)
    assert selection_file(tmp_path, None) == of_home
    assert selection_file(tmp_path, given) == given


@pytest.mark.parametrize("command", ["feed", "demo"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "given.yaml' cannot be read: No such file or directory. Name another with"),
        (b"\xff", "given.yaml' cannot be read: it is not UTF-8 text."),
        (ONE.replace("kraken", "mtgox").encode(), "given.yaml, line 1, exchanges.mtgox: 'mtgox'"),
    ],
)
def test_what_is_wrong_with_the_file_is_told_before_anything_starts(
    tmp_path: Path, command: str, text: bytes | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    given = tmp_path / "given.yaml"
    if text is not None:
        given.write_bytes(text)
    arguments = [command, "--home", str(tmp_path / "home"), "--instruments", str(given)]
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not (tmp_path / "home").exists()


def test_a_symbol_that_is_not_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    (tmp_path / "instruments.yaml").write_text(ONE)
    assert [r.symbols for r in read_file(tmp_path / "instruments.yaml")] == [("BTC-USD",)]
    arguments = ["feed", "--home", str(tmp_path), "--symbol", "ETH-USD"]
    with pytest.raises(UsageError, match="--symbol 'ETH-USD' is not among what is recorded"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
