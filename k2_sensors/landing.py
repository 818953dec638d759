"""The sensor that loads the files of the landing folder once they are complete."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from k2_assets.landing import DONE, FAILED, LANDING, landing_folder, load_landed
from k2_assets.resources import LakeResource
from k2_assets.tables import BACKLOG_TAG
from k2_feeds.archives.files import CHECKSUM
from k2_sensors.decide import Skip, backlog_id, decide
from k2_sensors.runs import active_days, attempts_made, recent_attempts

# More files than this wait for the next run.
FILES_AT_ONCE = 100
_UNFINISHED = (".part", ".tmp", ".crdownload", CHECKSUM)

# Size in bytes and time of change in nanoseconds, by name below the landing folder.
State = Mapping[str, tuple[int, int]]


@dg.sensor(
    name="landing",
    job_name=LANDING.name,  # given the job itself, Dagster copies the sensor with a beta warning
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Loads files put into landing/EXCHANGE/KIND of the home, once they stop growing.",
)
def landing(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> dg.SensorResult | dg.SkipReason:
    """A file that is as it was at the last tick is complete; the cursor holds what was seen."""
    now = datetime.now(UTC)
    seen = files_seen(landing_folder(lake.settings().home))
    if not seen:
        return dg.SkipReason("no file in the landing folder")
    files = complete(_state(context.cursor), seen)
    cursor = json.dumps(seen)
    what = f"{len(files)} files"
    if not files:
        return _skip(f"{len(seen)} files are still growing, or new", cursor)
    if active_days(context.instance, LANDING.name):
        return _skip(f"a run is under way; waiting with {what}", cursor)
    name = backlog_id("landing", now.date(), {f: seen[f] for f in files})
    recent = recent_attempts(context.instance, LANDING.name)
    decision = decide(now.date(), name, what, recent, attempts_made(context.instance, name), now)
    if isinstance(decision, Skip):
        return _skip(decision.reason, cursor)
    request = dg.RunRequest(
        run_key=decision.run_key,
        run_config={"ops": {load_landed.name: {"config": {"files": files}}}},
        tags={BACKLOG_TAG: decision.backlog},
    )
    return dg.SensorResult(run_requests=[request], cursor=cursor)


def files_seen(folder: Path) -> State:
    """The files that wait in ``<exchange>/<kind>`` below the folder, sorted by name."""
    found: dict[str, tuple[int, int]] = {}
    for path in sorted(folder.glob("*/*/*")):
        name = path.relative_to(folder)
        hidden = path.name.startswith(".") or path.name.endswith(_UNFINISHED)
        if name.parts[0] in (DONE, FAILED) or hidden or not path.is_file():
            continue
        state = path.stat()
        found[name.as_posix()] = (state.st_size, state.st_mtime_ns)
    return found


def complete(before: State, now: State) -> list[str]:
    """The files that have not changed between two looks, so many as one run takes."""
    return [name for name, state in now.items() if before.get(name) == state][:FILES_AT_ONCE]


def _state(cursor: str | None) -> State:
    return {name: (size, at) for name, (size, at) in json.loads(cursor or "{}").items()}


def _skip(reason: str, cursor: str) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=cursor)
