"""``python -m benchmarks.chaos``: the process killed 208 times, and every row counted.

Four stages at once, each broker with each catalog: Apache Kafka and the embedded broker, SQLite and
PostgreSQL. Needs Java, Maven and PostgreSQL, as the tests with them do.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.chaos.campaign import Campaign, Stage, Tally
from benchmarks.chaos.report import document, result, table
from benchmarks.machine import facts
from k2_assets.resources import BROKER_FOLDER
from k2_cli.home import ROOT
from k2_feeds.kafka.broker import start_broker
from k2_feeds.kafka.cluster import BOOTSTRAP
from k2_market.errors import UsageError
from tests.kafka_server import KafkaServer
from tests.needs import kafka_artifacts, postgres_programs
from tests.services import postgres

RESULTS = Path(__file__).parents[1] / "results" / "chaos.json"
PAGE = ROOT / "docs" / "exactly-once.md"
BROKERS, CATALOGS = ("Kafka", "embedded"), ("SQLite", "PostgreSQL")
# Nothing here outlives a power cut, which is not what is tried: memory saves half of the time.
MEMORY = Path("/dev/shm")


@contextmanager
def stages(folder: Path, brokers: Sequence[str], catalogs: Sequence[str]) -> Iterator[list[Stage]]:
    """Every broker with every catalog, each with servers of its own."""
    jars, programs = kafka_artifacts(), postgres_programs()
    if jars is None or programs is None:
        raise UsageError(
            "chaos needs Java, Maven and PostgreSQL: "
            "apt-get install default-jre-headless maven postgresql."
        )
    with ExitStack() as servers:
        yield [
            _stage(servers, folder / f"{broker}-{catalog}", broker, catalog, jars, programs)
            for broker in brokers
            for catalog in catalogs
        ]


def _stage(
    servers: ExitStack, home: Path, broker: str, catalog: str, jars: Path, programs: Path
) -> Stage:
    environment = {}
    if broker == "Kafka":
        folder = home / "kafka"
        folder.mkdir(parents=True)
        kafka = KafkaServer(jars, folder)
        servers.callback(kafka.stop)
        kafka.start()
        environment[BOOTSTRAP] = kafka.settings.bootstrap
    else:
        servers.enter_context(start_broker(home / BROKER_FOLDER))
    if catalog == "PostgreSQL":
        environment["K2_CATALOG_URI"] = servers.enter_context(postgres(programs))
    return Stage(broker, catalog, home, environment)


def chaos(
    on: Sequence[Stage], kills: int, seed: int, console: Console, longest_s: float = math.inf
) -> dict[str, Tally]:
    """Kill so often on each of the stages, all of them at once."""
    with console.status("killing"), ThreadPoolExecutor(len(on)) as pool:
        running = {
            stage.name: pool.submit(Campaign(stage, seed, console.log).run, kills, longest_s)
            for stage in on
        }
        return {name: tally.result() for name, tally in running.items()}


def main(
    kills: Annotated[int, typer.Option(help="How often on each stage.", min=1)] = 52,
    seed: Annotated[int, typer.Option(help="Another one gives other places.")] = 1,
    minutes: Annotated[float, typer.Option(help="Ends after so long, however few.")] = 60.0,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = RESULTS,
) -> None:
    """Kill the process again and again; exits with 1 where a row or a check is not right."""
    console = Console()
    place = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="k2-chaos-", dir=place) as folder,
        stages(Path(folder), BROKERS, CATALOGS) as on,
    ):
        tallies = chaos(on, kills, seed, console, minutes * 60)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    settings = {"kills": kills, "seed": seed}
    told: dict[str, Any] = {"measured_at": when, "machine": facts(), "settings": settings}
    told |= result(tallies)
    output.write_text(json.dumps(told, indent=2) + "\n")
    if output == RESULTS:
        document(PAGE, told)
    console.print(table(tallies))
    for name, tally in tallies.items():
        for failure in tally.failures:
            console.print(f"{name}: {failure}")
    console.print(f"kept in {os.path.relpath(output)}")
    if not all(tally.right for tally in tallies.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
