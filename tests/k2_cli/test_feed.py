from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from k2_cli.feed import addresses
from k2_cli.main import app
from k2_cli.selection import read_file, selection_file
from k2_feeds.kafka.broker import start_broker
from k2_market.errors import K2Error, UsageError
from tests.feeds import frames_in
from tests.needs import CHECKOUT
from tests.services import wait_until

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


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ({}, [], "starting: no answer from Kafka at 127.0.0.1:1 .*Is it running and reachable"),
        ({"K2_CA_FILE": "/nowhere"}, [], "K2_CA_FILE: '/nowhere' cannot be read: No such file"),
        ({}, ["--endpoint", "example.org"], "--endpoint 'example.org' was not ws://HOST:PORT"),
        ({"K2_FEED_ENDPOINT": "ws://a:1,b:2"}, [], "--endpoint 'b:2' was not ws://HOST:PORT"),
    ],
)
def test_what_a_feed_cannot_start_with_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "instruments.yaml").write_text(ONE)
    for name, value in {"K2_KAFKA_BOOTSTRAP": "127.0.0.1:1", **environment}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(K2Error, match=message):
        CliRunner().invoke(
            app, ["feed", "--home", str(tmp_path), *arguments], catch_exceptions=False
        )


def test_endpoints_are_several_with_commas_or_given_several_times() -> None:
    assert addresses([]) == ()
    assert addresses(["ws://a:1/, wss://b", "ws://c:3"]) == ("ws://a:1", "wss://b", "ws://c:3")


def test_a_feed_that_is_told_to_stop_has_delivered_what_it_received_and_says_so(
    tmp_path: Path,
) -> None:
    (tmp_path / "instruments.yaml").write_text(ONE.replace("BTC-USD", "BTC-USDT"))
    simulator = [
        sys.executable,
        "-m",
        "k2_feeds.simulator",
        "--only",
        "kraken",
        "--rate",
        "200",
    ]
    command = [sys.executable, "-c", "from k2_cli.main import run; run()", "feed"]
    with (
        start_broker(tmp_path / "broker") as broker,
        subprocess.Popen(simulator, stdout=subprocess.PIPE, text=True) as exchange,
    ):
        assert exchange.stdout is not None
        endpoint = exchange.stdout.readline().strip()
        environment = {"K2_KAFKA_BOOTSTRAP": broker.address, "K2_FEED_ENDPOINT": endpoint}
        feed = subprocess.Popen(
            [*command, "--home", str(tmp_path)], env={**os.environ, **environment}
        )
        try:
            wait_until(lambda: int(str(_state(tmp_path).get("frames", 0))) > 100, "the feed", 60)
            feed.send_signal(signal.SIGTERM)
            assert feed.wait(30) == 0
        finally:
            feed.kill()
            exchange.terminate()
        state = _state(tmp_path)
        assert (state["queued"], state["failure"], state["letters"]) == (0, None, 0)
        assert state["acknowledged"] == state["frames"]
        assert frames_in(broker.settings, "kraken").num_rows == state["frames"]
    assert not (tmp_path / "undelivered").exists()


def _state(home: Path) -> dict[str, object]:
    path = home / "feeds.json"
    told: dict[str, dict[str, object]] = json.loads(path.read_bytes()) if path.exists() else {}
    return told.get("kraken trades", {})
