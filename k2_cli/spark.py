"""``k2 spark``: what the engine Spark needs beside Python."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

spark = typer.Typer(help="What the engine Spark needs.", no_args_is_help=True)


@spark.callback()
def _spark() -> None:
    """What the engine Spark (K2_ENGINE=spark) needs beside Python and Java."""


@spark.command("jars")
def jars(
    to: Annotated[
        Path, typer.Option("--to", help="The folder to put them into; it is made if missing.")
    ],
) -> None:
    """Fetch the jars that Spark needs, each in one version whose checksum is known (129 MB).

    Maven fetches them, from where its own settings say. What the folder has already is looked at
    and stays. For machines that reach no registry, fetch on one that does and copy the folder.

    Then: export K2_SPARK_JARS=DIR K2_ENGINE=spark
    """
    from k2_cli.show import shown_progress
    from k2_lake.spark.jars import fetch, pinned

    folder, fetched = to.absolute(), 0
    with shown_progress() as shown:
        for n, jar in enumerate(pinned(), 1):
            shown.update(f"{n} of {len(pinned())}: {jar.file}")
            fetched += fetch(jar, folder)
    typer.echo(f"{len(pinned())} jars in {folder} ({fetched} fetched), checksums right.")
    typer.echo(f"export K2_SPARK_JARS={folder} K2_ENGINE=spark")
