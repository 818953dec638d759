"""The simulated exchanges as a process: ``python -m k2_feeds.simulator --port 0``.

Prints its endpoint, ``ws://127.0.0.1:<port>``, on a line and serves until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from k2_feeds.simulator.disturbances import parsed
from k2_feeds.simulator.server import serve
from k2_feeds.simulator.synthetic import SYMBOLS
from k2_market.errors import UsageError


async def _main(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    async with serve(
        arguments.host,
        arguments.port,
        symbols=arguments.symbols.split(","),
        only=arguments.only.split(",") if arguments.only else (),
        rate=arguments.rate,
        seed=arguments.seed,
    ) as simulator:
        for exchange in simulator.exchanges.values():
            for name, value in parsed(arguments.fault):
                exchange.disturbances.set(name, value)
        if arguments.address_file is not None:
            draft = arguments.address_file.with_suffix(".new")
            draft.write_text(simulator.endpoint)
            draft.replace(arguments.address_file)
        sys.stdout.write(f"{simulator.endpoint}\n")
        sys.stdout.flush()
        await stop.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Simulated exchanges on a WebSocket port.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--rate", type=float, default=5.0, help="trades a second, per symbol")
    parser.add_argument("--symbols", default=",".join(SYMBOLS), help="canonical, with commas")
    parser.add_argument("--only", default="", help="exchanges, with commas; all if not given")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what all exchanges do wrong, such as disconnect=30; several times",
    )
    parser.add_argument("--address-file", type=Path, help="where to write the endpoint, too")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        asyncio.run(_main(_arguments()))
    except UsageError as error:
        sys.exit(f"simulator: {error}")
