"""A home whose platform was cut off is ready for the next one."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from k2_cli.dagster_ready import ready
from k2_cli.home import prepare_dagster
from k2_cli.instance import make_ready
from k2_lake.tables import TABLES
from k2_market.errors import UsageError


@dg.op
def nothing() -> None:
    return None


@dg.job
def job() -> None:
    nothing()


def test_runs_that_were_cut_off_are_ended_and_others_left_alone(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        runs = {
            status: instance.create_run_for_job(job, status=status).run_id
            for status in (
                dg.DagsterRunStatus.STARTED,
                dg.DagsterRunStatus.NOT_STARTED,
                dg.DagsterRunStatus.SUCCESS,
            )
        }
        assert make_ready(instance) == 1
        after = {status: instance.get_run_by_id(run) for status, run in runs.items()}
        assert [r.status for r in after.values() if r] == [
            dg.DagsterRunStatus.FAILURE,
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.SUCCESS,
        ]


def test_every_table_is_written_by_one_run_at_a_time(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        make_ready(instance)
        storage = instance.event_log_storage
        limits = {key: storage.get_concurrency_info(key).slot_count for key in TABLES}
        assert set(limits.values()) == {1}


def test_runs_that_died_with_their_code_server_are_ended_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(prepare_dagster(tmp_path)))
    with dg.DagsterInstance.get() as instance:
        started = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        over = instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS)
    ready(tmp_path)
    assert capsys.readouterr().out == "runs that were cut off, now ended: 1\n"
    with dg.DagsterInstance.get() as instance:
        runs = [instance.get_run_by_id(r.run_id) for r in (started, over)]
        limit = instance.event_log_storage.get_concurrency_info("gold.trades").slot_count
    assert [r.status.value for r in runs if r] == ["FAILURE", "SUCCESS"]
    assert limit == 1


def test_a_folder_without_an_instance_is_not_made_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with pytest.raises(UsageError, match=r"no Dagster instance in .*To make one: `k2 demo`"):
        ready(tmp_path)
