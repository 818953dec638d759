"""``k2 dagster ready``: what a code server that was killed left behind, put right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME, environment
from k2_market.errors import UsageError


def ready(
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose runs are meant.")
    ] = DEFAULT_HOME,
) -> None:
    """End the runs that died with their code server, and have each table written by one at a time.

    Dagster's daemon sees a run die as long as the code server lives. Runs that died with it would
    count as under way for half an hour, and their tables would wait. `k2 demo` does this by itself;
    where the services run apart it belongs before each start of the code server, as
    docker-compose.yml has it. Never run it while a code server works: its runs would be ended.

    With DAGSTER_HOME set to an instance of your own, that one is meant, whatever --home says.
    """
    import dagster as dg

    from k2_cli.instance import make_ready

    folder = Path(os.environ.get("DAGSTER_HOME") or environment(home.absolute())["DAGSTER_HOME"])
    if not (folder / "dagster.yaml").exists():
        raise UsageError(f"no Dagster instance in {str(folder)!r}. To make one: `k2 demo`.")
    os.environ["DAGSTER_HOME"] = str(folder)
    with dg.DagsterInstance.get() as instance:
        ended = make_ready(instance)
    typer.echo(f"runs that were cut off, now ended: {ended}")
