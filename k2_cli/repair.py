"""``k2 repair``: missing trades from the exchanges' REST histories."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_market.exchanges import exchange as known_exchange
from k2_market.instruments import canonical_symbol

_DAY = ["%Y-%m-%d"]


def repair(
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose tables are meant.")
    ] = DEFAULT_HOME,
    exchange: Annotated[
        str | None, typer.Option(help="Only gaps of this exchange. [all]", show_default=False)
    ] = None,
    symbol: Annotated[
        str | None,
        typer.Option(help="Only gaps of this symbol, such as BTC-USDT. [all]", show_default=False),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(
            "--from", formats=_DAY, metavar="DAY", help="Not before this trade day (UTC)."
        ),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option("--to", formats=_DAY, metavar="DAY", help="Up to this trade day (UTC)."),
    ] = None,
    unrecorded: Annotated[
        bool,
        typer.Option(
            "--unrecorded", help="Also what lies between recordings and files: it can be years."
        ),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also what was found to be unrepairable before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be asked for, and end.")
    ] = False,
) -> None:
    """Fetch missing trades from the exchanges, and print a summary.

    gold.gaps knows what is missing: ids of trades that did not come. They are asked of the
    exchanges' REST histories, within their limits, and go the way of live frames: Kafka, bronze,
    silver, gold, candles, checks. A trade that is there already is not added again. What a history
    does not have is marked unrepairable, with the reason.

    Works on a home in use by `k2 demo` too: its sensors then bring the trades to the tables.

    Settings: K2_BINANCE_API_KEY, without which Binance's futures give aggregated trades alone;
    K2_CA_FILE; K2_REST_ENDPOINT to ask a simulator instead of the exchanges.
    """
    from k2_assets.repair import Selection
    from k2_cli.repairing import repair_home

    selection = Selection(
        exchange=None if exchange is None else known_exchange(exchange).name,
        symbol=None if symbol is None else canonical_symbol(symbol) or symbol,
        start=_day(start),
        end=_day(end),
        unrecorded=unrecorded,
        again=again,
    )
    repair_home(home, selection, dry_run=dry_run)


def _day(at: datetime | None) -> date | None:
    return None if at is None else at.date()
