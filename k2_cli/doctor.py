"""``k2 doctor``: what is wrong with a home or a deployment, and what mends it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_market.errors import K2Error, UsageError
from k2_market.findings import Finding, State

if TYPE_CHECKING:
    from k2_feeds.kafka.cluster import KafkaSettings
    from k2_feeds.kafka.health import Reader
    from k2_lake.catalog import Lake, LakeSettings


class Format(StrEnum):
    """How findings are written."""

    TABLE = "table"
    JSON = "json"


def doctor(
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder to look at.")
    ] = DEFAULT_HOME,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every data file through, and count its rows.")
    ] = False,
    format: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TABLE,  # noqa: A002
) -> None:
    """Say what is wrong here and which command mends it. Exit 1 if anything is wrong.

    Looks at the catalog and the store, every table's metadata, files and progress, Kafka's offsets
    beside bronze's, the Schema Registry, the feeds and what they could not deliver, Dagster's
    storage, runs and ticks, how far tables are behind, the disk and the libraries. The environment
    says where a deployment's parts are, as for every other command. Only reads, but for a small
    file that is written into the warehouse and removed again; a home in use may be looked at.

    Example: k2 doctor --deep --format json
    """
    from k2_cli.show_doctor import shown_while, write_findings

    if not home.is_dir():
        raise UsageError(f"there is no home at {home}. Give one with --home or K2_HOME.")
    found = examine(home.absolute(), deep=deep)
    findings = [_for_home(f, home) for f in shown_while(found)]
    write_findings(findings, as_json=format is Format.JSON)
    if any(f.state is State.WRONG for f in findings):
        raise typer.Exit(1)


def _for_home(finding: Finding, home: Path) -> Finding:
    """With commands that mean this home, where it is not the one they mean by themselves."""
    mend, usual = finding.mend, Path(os.environ.get("K2_HOME", DEFAULT_HOME)).absolute()
    if home.absolute() == usual or not mend.startswith("k2 ") or "--home" in mend:
        return finding
    return replace(finding, mend=f"{mend} --home {home}")


def examine(home: Path, *, deep: bool = False) -> Iterator[Finding]:
    """All that is found of a home, or of the deployment that the environment names."""
    from k2_cli.doctor_dagster import dagster_findings
    from k2_cli.doctor_machine import machine_findings
    from k2_feeds.kafka.health import registry_findings
    from k2_feeds.live.health import feed_findings
    from k2_feeds.typed.registry import registry_from_environment
    from k2_lake.catalog import LakeSettings
    from k2_lake.quality.health import lake_findings

    settings = LakeSettings.from_environment(os.environ, home)
    in_use = home_in_use(home)
    wrong = False
    for finding in lake_findings(settings, deep=deep):
        wrong = wrong or finding.state is State.WRONG
        yield finding
    yield from _kafka(settings, in_use=in_use, lake_is_sound=not wrong)
    yield from registry_findings(registry_from_environment(os.environ))
    yield from feed_findings(home)
    own = home / "dagster"
    folder = own if own.is_dir() else Path(os.environ.get("DAGSTER_HOME", own))
    yield from dagster_findings(folder, home, in_use=in_use)
    yield from machine_findings(home)


def home_in_use(home: Path) -> bool:
    """Whether another process holds the lock of this home."""
    lock = home / "lock"
    if not lock.is_file():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _kafka(settings: LakeSettings, *, in_use: bool, lake_is_sound: bool) -> Iterator[Finding]:
    from k2_assets.resources import BROKER_FOLDER
    from k2_feeds.kafka.broker import broker_settings
    from k2_feeds.kafka.cluster import from_environment
    from k2_feeds.kafka.health import KAFKA, kafka_findings
    from k2_lake.catalog import Lake

    kafka = from_environment(os.environ)
    if kafka is None and not in_use:
        told = "no platform runs here; its embedded broker starts with `k2 demo`"
        yield Finding(KAFKA, "broker", State.OK, told)
        return
    kafka = kafka or broker_settings(settings.home / BROKER_FOLDER)
    if kafka is None:
        told = "a process works in this home, but no broker runs for it"
        yield Finding(KAFKA, "broker", State.WRONG, told, "restart the platform: k2 demo")
        return
    lake = Lake(settings)
    answers = True
    for finding in kafka_findings(kafka, _readers(lake) if lake_is_sound else {}):
        answers = answers and not (finding.what == "broker" and finding.state is State.WRONG)
        yield finding
    if lake_is_sound and answers:
        yield from _freshness(lake, kafka)


def _readers(lake: Lake) -> dict[str, Reader]:
    """By raw topic, the bronze table that is filled from it."""
    from k2_feeds.kafka.health import Reader
    from k2_feeds.kafka.look import Held
    from k2_feeds.kafka.topics import raw_topic
    from k2_lake.bronze import position
    from k2_lake.tables import bronze_name
    from k2_market.exchanges import EXCHANGES
    from k2_market.kinds import Kind

    found = {}
    for kind in Kind:
        for exchange in EXCHANGES:
            name = bronze_name(exchange, kind)
            table = lake.existing(name)
            at = None if table is None else position(table)
            held = None if at is None else Held(at.cluster_id, at.offsets)
            topic_id = "" if at is None else at.topic_id
            found[raw_topic(kind, exchange)] = Reader(name, exchange, kind, held, topic_id)
    return found


def _freshness(lake: Lake, kafka: KafkaSettings) -> Iterator[Finding]:
    from k2_assets.freshness import measured

    try:
        states = measured(lake, kafka)
    except K2Error as error:
        mend = "mend what it says"
        yield Finding("freshness", "lag", State.WARNING, f"cannot be measured: {error}", mend)
        return
    late = [s for s in states if s.late]
    for state in late:
        told = f"{state.lag_s:,.0f} s behind, {state.slo_s} are allowed"
        mend = "are the ticks running? See the sensors and runs in the Dagster UI"
        yield Finding("freshness", state.table, State.WARNING, told, mend)
    if not late:
        worst = max(states, key=lambda s: s.lag_s / s.slo_s)
        told = f"all {len(states)} tables are in time"
        more = f"; {worst.table} is {worst.lag_s:,.0f} s behind" if worst.lag_s else ""
        yield Finding("freshness", "tables", State.OK, told + more)
