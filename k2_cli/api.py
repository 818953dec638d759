"""``k2 api``: the REST API over the lake."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from k2_market.errors import UsageError


def api(
    home: Annotated[
        Path | None,
        typer.Option(help="The lake's folder. [K2_HOME, else .k2]", show_default=False),
    ] = None,
    host: Annotated[
        str, typer.Option(envvar="K2_API_HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            envvar="K2_API_PORT", help="The port; 0 chooses a free one.", min=0, max=65535
        ),
    ] = 8000,
) -> None:
    """Serve the lake over HTTP.

    /docs shows what can be asked. Stops on Ctrl-C.
    """
    from k2_api.app import create_app
    from k2_api.guard.keys import read_keys
    from k2_api.serving import Server
    from k2_lake.catalog import LakeSettings

    settings = LakeSettings.from_environment(os.environ, home)
    if not settings.home.is_dir():
        raise UsageError(
            f"there is no folder {settings.home}. Give the lake's with --home or K2_HOME."
        )
    listening = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"K2 API on http://{shown}:{listening.getsockname()[1]} (docs: /docs)")
    if not read_keys(settings.home):
        typer.echo(f"There is no API key yet. Make one: k2 keys create --home {settings.home} NAME")
    Server(create_app(settings)).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises UsageError when the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror}. "
            "Choose another with --port (0 for any free one) or --host."
        ) from error
