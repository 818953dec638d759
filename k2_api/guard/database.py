"""The database that answers requests: DuckDB with the lake's files in reach and nothing else."""

from __future__ import annotations

from functools import partial

import duckdb

from k2_api.guard.budget import Budget
from k2_api.guard.priority import Aside
from k2_lake.duckdb_engine import PRELUDE, literal
from k2_lake.locations import local_path


def confined_database(warehouse: str, budget: Budget, aside: Aside) -> duckdb.DuckDBPyConnection:
    """A database in memory that can open files of the warehouse alone, within the budget.

    No other file, no network, no extension, no variable of Python, and no way to change that. Its
    threads give way as those of ``aside`` do.
    """
    connect = partial(
        duckdb.connect,
        ":memory:",
        config={
            "memory_limit": budget.memory,
            "threads": budget.threads,
            "temp_directory": "",
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
        },
    )
    database = aside.run(connect)
    # Late materialization reads what it selects twice: it doubles the time of a short page.
    database.execute(
        f"{PRELUDE} set parquet_metadata_cache = true; "
        "set disabled_optimizers = 'late_materialization'"
    )
    folder = local_path(warehouse)
    # DuckDB compares the path as it is told it, in which globbing characters are escaped.
    folders = [] if folder is None else [folder, literal(folder)]
    database.execute("set allowed_directories = $folders", {"folders": folders})
    database.execute("set enable_external_access = false; set lock_configuration = true")
    return database
