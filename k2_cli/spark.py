"""``k2 spark``: what the engine Spark needs beside Python."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

spark = typer.Typer(help="What the engine Spark needs.", no_args_is_help=True)


@spark.callback()
def _spark() -> None:
    """What the engine Spark (K2_ENGINE=spark) needs."""


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


@spark.command("connect")
def connect(
    host: Annotated[
        str, typer.Option(envvar="K2_SPARK_CONNECT_HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="K2_SPARK_CONNECT_PORT", help="The port.", min=1, max=65535)
    ] = 15002,
) -> None:
    """Serve Spark Connect, with the jars, the settings and the Python that K2 needs.

    The work is done where K2_SPARK_MASTER says, on this machine if it says nothing. Whoever reaches
    the port runs what he likes there: keep it on loopback or behind a firewall. Stops on Ctrl-C.

    Then, in another shell: export K2_ENGINE=spark K2_SPARK_MASTER=sc://127.0.0.1:15002
    """
    from k2_lake.spark.connect import server_command, server_environment
    from k2_lake.spark.settings import SparkSettings

    command = server_command(SparkSettings.from_environment(os.environ), host, port)
    typer.echo(f"Spark Connect on sc://{host}:{port}")
    os.execve(command[0], command, server_environment(os.environ))  # noqa: S606
