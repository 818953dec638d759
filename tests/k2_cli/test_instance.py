"""A home whose platform was cut off is ready for the next one."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from k2_cli.instance import make_ready
from k2_lake.tables import TABLES


def test_runs_that_were_cut_off_are_ended_and_others_left_alone(tmp_path: Path) -> None:
    @dg.op
    def nothing() -> None:
        return None

    @dg.job
    def job() -> None:
        nothing()

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
