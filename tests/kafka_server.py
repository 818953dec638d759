"""A real Apache Kafka for tests: one node in KRaft mode, from its published artifacts.

It listens on 127.0.0.1 alone: without a password, with one, and with TLS. Topics must be created.
It ends with the test session.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from k2_feeds.kafka.admin import topic_id
from k2_feeds.kafka.cluster import KafkaSettings
from tests.needs import require
from tests.services import free_port, wait_until

USER, PASSWORD = "k2", "k2-test-password"
_STORE_PASSWORD = "k2-test-store"
# A small, quickly started server: it serves one test at a time, seconds long.
_JAVA = "-Xms96m -Xmx320m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData".split()
_LOGGING = """
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = OUT
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c: %m%n
"""


class KafkaServer:
    """A server whose folder and ports outlive its process, so that it can be started again."""

    def __init__(self, jars: Path, folder: Path) -> None:
        self.folder = folder
        self._jars = jars
        self._ports = {name: free_port() for name in ("PLAIN", "SASL", "TLS", "CONTROLLER")}
        self._process: subprocess.Popen[bytes] | None = None
        # The leash is tied to the thread that starts the server: one that lasts.
        self._spawner = ThreadPoolExecutor(1, "kafka-spawner")
        _make_certificate(folder)
        (folder / "log4j2.properties").write_text(_LOGGING)
        (folder / "server.properties").write_text(_properties(folder, self._ports))
        self._format()

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def settings(self) -> KafkaSettings:
        """How clients reach it without a password."""
        return KafkaSettings(self._address("PLAIN"))

    @property
    def sasl_environment(self) -> dict[str, str]:
        """The environment that makes K2 sign in as USER."""
        return {
            "K2_KAFKA_BOOTSTRAP": self._address("SASL"),
            "K2_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "K2_KAFKA_SASL_MECHANISM": "PLAIN",
            "K2_KAFKA_SASL_USERNAME": USER,
            "K2_KAFKA_SASL_PASSWORD": PASSWORD,
        }

    @property
    def tls_environment(self) -> dict[str, str]:
        """The environment that makes K2 trust its certificate."""
        return {
            "K2_KAFKA_BOOTSTRAP": self._address("TLS"),
            "K2_KAFKA_SECURITY_PROTOCOL": "SSL",
            "K2_KAFKA_SSL_CA_LOCATION": str(self.folder / "certificate.pem"),
        }

    def start(self) -> None:
        """Start it, with what its topics held, and wait until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            command = self._java("kafka.Kafka", str(self.folder / "server.properties"))
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            spawned = self._spawner.submit(subprocess.Popen, command, cwd=self.folder, **options)
            self._process = spawned.result()
        wait_until(self._answers, f"Kafka, whose log is {self.folder / 'server.log'},", 60)

    def stop(self) -> None:
        """Stop it in good order; it keeps its topics."""
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        """End it at once, as a crash does; it keeps what reached its files."""
        self._end(subprocess.Popen.kill)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def delete_topic(self, topic: str) -> None:
        """Delete it, if it exists, and wait until it is gone."""
        if topic_id(self.settings, topic) is not None:
            client = AdminClient(self.settings.client())
            (deleted,) = client.delete_topics([topic]).values()
            deleted.result()
            wait_until(lambda: topic_id(self.settings, topic) is None, f"the end of {topic}")

    def _end(self, how: object) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        how(process)  # type: ignore[operator]
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            tail = (self.folder / "server.log").read_text()[-2000:]
            raise RuntimeError(f"Kafka ended with {self._process.returncode}: {tail}")
        try:
            client = AdminClient(self.settings.client())
            client.list_topics(timeout=1)
        except KafkaException:
            return False
        return True

    def _address(self, listener: str) -> str:
        return f"127.0.0.1:{self._ports[listener]}"

    def _format(self) -> None:
        tool = ["format", "--cluster-id", "azItdGVzdC1jbHVzdGVyMQ", "--config"]
        command = self._java("kafka.tools.StorageTool", *tool, self.folder / "server.properties")
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder)

    def _java(self, main: str, *arguments: str | Path) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        java = ["java", *_JAVA, logging, "-cp", f"{self._jars}/*", main, *map(str, arguments)]
        # A test session that is killed must not leave a server behind.
        leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        return [*leash, *java]


def _properties(folder: Path, ports: Mapping[str, int]) -> str:
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    listeners = {name: f"{name}://127.0.0.1:{port}" for name, port in ports.items()}
    found: dict[str, object] = {
        "node.id": 1,
        "process.roles": "broker,controller",
        "controller.quorum.voters": f"1@127.0.0.1:{ports['CONTROLLER']}",
        "controller.listener.names": "CONTROLLER",
        "listeners": ",".join(listeners.values()),
        "advertised.listeners": ",".join(v for k, v in listeners.items() if k != "CONTROLLER"),
        "listener.security.protocol.map": (
            "PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,CONTROLLER:PLAINTEXT"
        ),
        "inter.broker.listener.name": "PLAIN",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": f'{login} user_{USER}="{PASSWORD}";',
        "ssl.keystore.location": folder / "store.p12",
        "ssl.keystore.password": _STORE_PASSWORD,
        "ssl.keystore.type": "PKCS12",
        "log.dirs": folder / "data",
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "num.network.threads": 2,
        "num.io.threads": 2,
        "log.segment.delete.delay.ms": 100,
        # A killed server may register again once its last session is over.
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
    }
    return "".join(f"{name}={value}\n" for name, value in found.items())


def _make_certificate(folder: Path) -> None:
    store = ["-keystore", "store.p12", "-storetype", "PKCS12", "-storepass", _STORE_PASSWORD]
    make = ["-genkeypair", "-alias", "k2", "-keyalg", "RSA", "-validity", "30"]
    name = ["-dname", "CN=127.0.0.1", "-ext", "SAN=IP:127.0.0.1"]
    export = ["-exportcert", "-rfc", "-alias", "k2", "-file", "certificate.pem"]
    for command in (["keytool", *make, *name, *store], ["keytool", *export, *store]):
        subprocess.run(command, check=True, cwd=folder, capture_output=True)


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The server of the session; tests use ``kafka_server``, which finds it running."""
    server = KafkaServer(Path(require("kafka")), tmp_path_factory.mktemp("kafka"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def kafka_without_topics(kafka_cluster: KafkaServer) -> KafkaServer:
    """The server without what the tests of other files left in it, in whatever order they ran."""
    if not kafka_cluster.running:
        kafka_cluster.start()
    for topic in AdminClient(kafka_cluster.settings.client()).list_topics(timeout=30).topics:
        if not topic.startswith("__"):
            kafka_cluster.delete_topic(topic)
    return kafka_cluster


@pytest.fixture
def kafka_server(kafka_without_topics: KafkaServer) -> KafkaServer:
    """The running server, whatever the test before did to it."""
    if not kafka_without_topics.running:
        kafka_without_topics.start()
    return kafka_without_topics
