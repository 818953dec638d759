"""The embedded broker: librdkafka's built-in cluster in a process of its own.

Ordinary clients reach it over TCP. It is for one machine that has no Kafka: it lives in memory,
keeps the newest 5 MB (compressed) of each partition and silently drops older messages, makes a
topic of four partitions at its first use, and does not serve CreateTopics, DescribeTopics,
DescribeCluster and offsets_for_times. Its port and cluster id are new at every start. So whoever
produces must not run further ahead of the tables than it can hold (see Backlog).

Run as ``python -m k2_feeds.kafka.broker FILE``: writes ``host:port`` to FILE and serves until it
receives SIGTERM, its standard input closes or its parent dies.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType

from confluent_kafka import KafkaException, Producer

from k2_feeds.kafka.cluster import KafkaSettings, from_environment
from k2_market.errors import BrokerUnavailable

# Where in a home it writes its address and its log.
FOLDER = "broker"
PARTITIONS = 4
KEPT_BYTES = 5_000_000  # compressed, per partition
_ADDRESS = "broker.address"
_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0
_PARENT_CHECK_S = 1.0


class EmbeddedBroker:
    """The handle of a running broker process; a context manager that stops it."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.process, self.address = process, address

    @property
    def settings(self) -> KafkaSettings:
        """How clients reach it."""
        return KafkaSettings(self.address, embedded=True)

    @property
    def running(self) -> bool:
        """Whether the process is alive; once False its messages are gone."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End the process and wait for it. What was not read by then is lost."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def __enter__(self) -> EmbeddedBroker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def start_broker(directory: Path) -> EmbeddedBroker:
    """Start a broker that writes its address and its log into ``directory``.

    It ends with this process at the latest. Raises BrokerUnavailable if it does not come up.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / _ADDRESS
    file.unlink(missing_ok=True)
    with (directory / "broker.log").open("ab") as log:
        # Its own session: Ctrl-C must reach the feeds and the tables first, which still need it.
        process = subprocess.Popen(
            [sys.executable, "-m", "k2_feeds.kafka.broker", str(file)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        return EmbeddedBroker(process, _await_address(file, process))
    except BaseException:
        EmbeddedBroker(process, "").stop()
        raise


def broker_settings(directory: Path) -> KafkaSettings | None:
    """How to reach the broker started in ``directory``, or None if none was."""
    file = directory / _ADDRESS
    return KafkaSettings(file.read_text(), embedded=True) if file.exists() else None


def settings_here(env: Mapping[str, str], home: Path) -> KafkaSettings | None:
    """The cluster that the environment names, else the embedded broker of that home, if any."""
    return from_environment(env) or broker_settings(home / FOLDER)


def _await_address(file: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise BrokerUnavailable(
                f"the embedded broker did not start within {_START_TIMEOUT_S:.0f} s "
                f"(exit code {process.poll()}). Its log: {file.with_name('broker.log')}."
            )
        time.sleep(0.01)
    return file.read_text()


def _serve(file: Path) -> None:
    parent = os.getppid()
    signal.signal(signal.SIGTERM, _leave)
    cluster = Producer({"test.mock.num.brokers": 1, "log_level": 3})
    _write_atomically(file, _address_of(cluster))
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], _PARENT_CHECK_S)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            return


def _address_of(cluster: Producer) -> str:
    try:
        brokers = cluster.list_topics(timeout=_START_TIMEOUT_S).brokers
    except KafkaException as error:
        raise BrokerUnavailable(f"the embedded broker does not answer: {error}.") from error
    broker = next(iter(brokers.values()))
    return f"{broker.host}:{broker.port}"


def _write_atomically(file: Path, text: str) -> None:
    draft = file.with_suffix(".new")
    draft.write_text(text)
    draft.replace(file)


def _leave(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    sys.exit(0)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
