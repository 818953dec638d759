"""``k2 demo``: the platform on one machine, or with ``--once`` a replay of recorded frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_cli.show import run_shown
from k2_market.errors import UsageError
from k2_market.exchanges import exchange as known_exchange
from k2_market.kinds import Kind


def demo(
    home: Annotated[
        Path, typer.Option(help="Folder for all state, Dagster's included.")
    ] = DEFAULT_HOME,
    live: Annotated[
        bool, typer.Option("--live", help="Connect to the real exchanges, not the simulator.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Replay --frames through the whole chain, then exit.")
    ] = False,
    frames: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXCHANGE:PATH",
            help="Recorded frames, .gz or plain; several times, in order. With --once.",
        ),
    ] = None,
    instruments: Annotated[
        Path | None,
        typer.Option(
            help="The file that says what to record. [HOME/instruments.yaml, else K2's own]",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[Kind, typer.Option(help="What --once takes from the frames.")] = Kind.TRADES,
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    api_port: Annotated[int, typer.Option(help="Port of the REST API.")] = 8000,
) -> None:
    """Run everything on this machine: broker, simulated exchanges, feeds, Dagster, API.

    Shows a table of candles and the addresses to open, then runs until Ctrl-C.

    With --once it replays recorded frames instead and prints a summary; it exits with 1 when a
    blocking check failed.
    """
    if once:
        replay_once(home, kind, frames or [])
        return
    if frames:
        raise UsageError("--frames goes with --once: `k2 demo --once --frames EXCHANGE:PATH`.")
    from k2_cli.platform import run_platform
    from k2_cli.selection import selection_file

    file = selection_file(home, instruments)
    run_platform(home, file, live=live, dagster_port=dagster_port, api_port=api_port)


def replay_once(home: Path, kind: Kind, frames: list[str]) -> None:
    """Replay, show progress on standard error and the summary on standard output."""
    tapes = [tape(argument) for argument in frames]
    if not tapes:
        raise UsageError(
            "--once needs recorded frames: --frames EXCHANGE:PATH, as often as needed."
        )
    from k2_cli.once import replay

    run_shown("Replay", kind, lambda shown: replay(home, kind, tapes, shown.update))


def tape(argument: str) -> tuple[str, Path]:
    """Exchange and file of ``EXCHANGE:PATH``. Raises UsageError or UnknownName."""
    name, separator, path = argument.partition(":")
    if not separator or not path:
        raise UsageError(
            f"--frames {argument!r} was not EXCHANGE:PATH, such as kraken:frames.jsonl.gz."
        )
    return known_exchange(name).name, Path(path)
