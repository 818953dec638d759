"""Old runs go, and no page of an asset changes: in SQLite and in PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from k2_assets.run_history import Pruned, prune
from k2_assets.tables import BACKLOG_TAG

NOW = datetime.now(UTC) + timedelta(days=40)
DAYS = dg.StaticPartitionsDefinition(["monday", "tuesday", "wednesday"])


@dg.asset(partitions_def=DAYS)
def prices(context: dg.AssetExecutionContext) -> None:
    """Fails where its run is told so."""
    if context.run.tags.get("fails"):
        raise dg.Failure("as it was told")
    context.log_event(dg.AssetObservation(prices.key, partition=context.partition_key))


@dg.asset
def listing() -> None:
    """Has no partitions."""


@dg.multi_asset_check(specs=[dg.AssetCheckSpec("positive", asset="prices")])
def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    yield dg.AssetCheckResult(passed=not context.run.tags.get("wrong"), asset_key=prices.key)


DEFS = dg.Definitions(
    assets=[prices, listing],
    asset_checks=[checks],
    jobs=[
        dg.define_asset_job("priced", dg.AssetSelection.assets(prices)),
        dg.define_asset_job("listed", dg.AssetSelection.assets(listing).without_checks()),
    ],
    executor=dg.in_process_executor,
)


def run(instance: dg.DagsterInstance, day: str | None, **tags: str) -> str:
    job = DEFS.resolve_job_def("listed" if day is None else "priced")
    config: Any = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return job.execute_in_process(
        instance=instance,
        partition_key=day,
        tags=tags,
        run_config=config,
        raise_on_error=False,
    ).run_id


def shown(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What the pages show: by partition the newest events, and the newest verdicts."""
    storage = instance.event_log_storage
    kinds = (
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_OBSERVATION,
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    )
    failures = storage.get_latest_asset_partition_materialization_attempts_without_materializations
    check = dg.AssetCheckKey(prices.key, "positive")
    newest = storage.get_latest_asset_check_execution_by_key([check])[check]
    latest = instance.get_latest_materialization_event(listing.key)
    assert latest is not None
    return {
        "materialized": instance.get_materialized_partitions(prices.key),
        **{k.value: storage.get_latest_storage_id_by_partition(prices.key, k) for k in kinds},
        "failed": failures(prices.key),
        "verdicts": {
            info.partition_key: info.latest_execution_status
            for info in storage.get_asset_check_partition_info([check])
        },
        "newest verdict": (newest.id, newest.run_id, newest.status),
        "listing": latest.run_id,
    }


@contextmanager
def sqlite(folder: Path, _: Any) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        yield instance


@contextmanager
def postgres(folder: Path, request: pytest.FixtureRequest) -> Iterator[dg.DagsterInstance]:
    uri = request.getfixturevalue("postgres_database")
    storage = {"postgres": {"postgres_url": uri}}
    with dg.instance_for_test(temp_dir=str(folder), overrides={"storage": storage}) as instance:
        yield instance


@pytest.mark.parametrize(
    "opened", [sqlite, pytest.param(postgres, marks=pytest.mark.postgres, id="postgres")]
)
def test_runs_go_and_partitions_and_verdicts_stay(
    tmp_path: Path, request: pytest.FixtureRequest, opened: Any
) -> None:
    with opened(tmp_path, request) as instance:
        ended = [run(instance, "monday") for _ in range(3)]
        ended += [run(instance, "tuesday"), run(instance, "tuesday", fails="yes")]
        ended += [run(instance, "wednesday", wrong="yes"), run(instance, None), run(instance, None)]
        before, size = shown(instance), _bytes(tmp_path)
        assert before["materialized"] == {"monday", "tuesday", "wednesday"}

        assert [*prune(instance, datetime.now(UTC))][-1] == Pruned(8, 0, 0)
        assert [*prune(instance, NOW, dry_run=True)] == [Pruned(8, 8, 3)]
        assert instance.get_runs_count() == 8
        assert [*prune(instance, NOW)][-1] == Pruned(8, 8, 3)

        assert shown(instance) == before
        gone = {*ended[:2], ended[6]}
        assert {r.run_id for r in instance.get_runs()} == {*ended} - gone
        assert not gone & _runs_with_events(instance)
        assert all(instance.all_logs(r) for r in {*ended} - gone)
        assert _checks(instance) == {*ended} - {*gone, ended[7]}
        assert [*prune(instance, NOW)][-1] == Pruned(5, 5, 0)
        if opened is sqlite:
            left = {p.stem for p in tmp_path.glob("history/runs/*.db")}
            assert left & {*ended} <= {*ended} - gone
            assert _bytes(tmp_path) < size


def test_the_attempts_at_a_backlog_go_together_or_not_at_all(tmp_path: Path) -> None:
    """Else a sensor would count fewer attempts, and ask for a run key that was used before."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        stays = [run(instance, "monday", **{BACKLOG_TAG: "b"}) for _ in range(2)]
        goes = run(instance, "tuesday", **{BACKLOG_TAG: "a"})
        newest = run(instance, "tuesday")

        assert [*prune(instance, NOW)][-1] == Pruned(4, 4, 1)

        assert {r.run_id for r in instance.get_runs()} == {*stays, newest}
        assert instance.get_run_by_id(goes) is None


def test_failed_runs_stay_longer(tmp_path: Path) -> None:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        failed = run(instance, "monday", fails="yes")
        run(instance, "monday")
        run(instance, "monday")
        at = datetime.now(UTC) + timedelta(days=10)
        assert [*prune(instance, at)][-1] == Pruned(3, 2, 1)
        assert instance.get_run_by_id(failed) is not None
        assert [*prune(instance, NOW)][-1] == Pruned(2, 2, 1)


def _bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def _runs_with_events(instance: dg.DagsterInstance) -> set[str]:
    storage: Any = instance.event_log_storage
    with storage.index_connection() as connection:
        return set(connection.execute(sa.text("select run_id from event_logs")).scalars())


def _checks(instance: dg.DagsterInstance) -> set[str]:
    """The runs that still have a row among the executions of the check."""
    key = dg.AssetCheckKey(prices.key, "positive")
    storage = instance.event_log_storage
    return {r.run_id for r in storage.get_asset_check_execution_history(key, limit=100)}
