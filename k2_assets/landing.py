"""The landing folder: files put there are loaded into Kafka, then moved out of the way.

``<home>/landing/<exchange>/<kind>/<file>`` ends in ``landing/done/...``, or with a ``.reason`` file
beside it in ``landing/failed/...``. A file is moved only once its rows cannot be lost any more. A
run that is killed before leaves it where it is, and loading it again adds nothing to gold.
"""

import time
from pathlib import Path

import dagster as dg

from k2_assets.pacing import backlog
from k2_assets.resources import KafkaResource, LakeResource
from k2_feeds.archives.archive import open_archives
from k2_feeds.archives.files import CHECKSUM
from k2_feeds.kafka.backlog import Backlog
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import Origin
from k2_feeds.kafka.producer import FrameProducer
from k2_lake.catalog import Lake
from k2_market.errors import UsageError
from k2_market.kinds import Kind, kind_of

DONE, FAILED = "done", "failed"
_REASON = ".reason"
_LOOK_EVERY_S = 0.5

# A file of years takes hours; a run that no longer moves is told by its process.
_LONGEST_S = 24 * 3600


class LandedFiles(dg.Config):
    """The files to load, as ``<exchange>/<kind>/<file>``, in order."""

    files: list[str]


@dg.op(description="Loads files into Kafka and moves them to done or failed.")
def load_landed(
    context: dg.OpExecutionContext, config: LandedFiles, lake: LakeResource, kafka: KafkaResource
) -> None:
    """Each file by itself: one that cannot be loaded does not stop the next."""
    landing = landing_folder(lake.settings().home)
    rows: dict[str, int | str] = {}
    for name in config.files:
        try:
            rows[name] = load_file(lake.open(), kafka.settings(), landing, name)
            move(landing, name, DONE)
        except UsageError as error:
            rows[name] = str(error)
            move(landing, name, FAILED, reason=str(error))
        context.log.info("%s: %s", name, rows[name])
    context.add_output_metadata({"files": dg.MetadataValue.json(rows)})


LANDING = dg.GraphDefinition(
    name="landing",
    node_defs=[load_landed],
    description="Files of the landing folder into Kafka; a tick then brings them to the tables.",
).to_job(executor_def=dg.in_process_executor, tags={"dagster/max_runtime": str(_LONGEST_S)})


def landing_folder(home: Path) -> Path:
    """Where files are put for a running platform to load."""
    return home / "landing"


def load_file(lake: Lake, kafka: KafkaSettings, landing: Path, name: str) -> int:
    """Hand a file's rows to Kafka, and wait until they are kept; their number.

    A file that is gone has been loaded by the run before. Raises UsageError for one that cannot be
    loaded, LogError where Kafka fails.
    """
    path = landing / name
    if not path.exists():
        return 0
    exchange, kind = _place(name)
    archives = open_archives(exchange, kind, path)
    clock_us, rows = time.time_ns() // 1000, 0
    pace = backlog(lake, kafka, exchange, kind)
    with FrameProducer(kafka, exchange, kind, backlog=pace) as producer:
        for archive in archives:
            for batch, _ in archive.batches(clock_us):
                rows += producer.send_many(batch, Origin.ARCHIVE)
    if pace is not None:
        await_bronze(pace)
    return rows


def move(landing: Path, name: str, to: str, reason: str | None = None) -> None:
    """Move a file and its checksum to ``done`` or ``failed``, beside any of the same name."""
    folder = (landing / to / name).parent
    folder.mkdir(parents=True, exist_ok=True)
    free = _free_name(folder, Path(name).name)
    if reason is not None:
        (folder / (free + _REASON)).write_text(reason + "\n", encoding="utf-8")
    # The file last: whoever sees it gone may rely on the rest.
    for suffix in (CHECKSUM, ""):
        source = landing / (name + suffix)
        if source.exists():
            source.replace(folder / (free + suffix))


def _place(name: str) -> tuple[str, Kind]:
    parts = Path(name).parts
    if len(parts) != 3:
        raise UsageError(f"{name!r} is not in a folder like landing/binance/trades.")
    return parts[0], kind_of(parts[1])


def _free_name(folder: Path, name: str) -> str:
    number, free = 1, name
    while (folder / free).exists():
        number += 1
        free = f"{name}.{number}"
    return free


def await_bronze(pace: Backlog) -> None:
    """The embedded broker forgets when it stops: rows are kept once bronze has them."""
    while pace.size:
        time.sleep(_LOOK_EVERY_S)
        pace.refresh()
