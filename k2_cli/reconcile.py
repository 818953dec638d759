"""``k2 reconcile``: our candles beside the exchange's own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from k2_cli.home import DEFAULT_HOME
from k2_market.errors import UsageError
from k2_market.exchanges import exchange as known_exchange
from k2_market.instruments import canonical_symbol
from k2_market.timeframes import timeframe as known_timeframe

_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]


def reconcile(
    exchange: Annotated[str, typer.Option(help="Whose candles: binance, kraken.")],
    symbol: Annotated[str, typer.Option(help="Of which symbol, such as BTC-USDT.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH...]",
            help="Files of klines (Binance Public Data), plain, .gz or .zip. [ask the exchange]",
            show_default=False,
        ),
    ] = None,
    home: Annotated[
        Path, typer.Option(envvar="K2_HOME", help="The folder whose tables are meant.")
    ] = DEFAULT_HOME,
    timeframe: Annotated[
        str, typer.Option(help="1m, 5m, 30m, 1h or 1d; a file tells its own.")
    ] = "1m",
    start: Annotated[
        datetime | None,
        typer.Option("--from", formats=_TIMES, metavar="TIME", help="First window (UTC)."),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option("--to", formats=_TIMES, metavar="TIME", help="Before this window (UTC)."),
    ] = None,
) -> None:
    """Compare candles with the exchange's own, figure by figure, and print what came of it.

    The exchange is asked over REST for the windows from --from on and before --to, or files of its
    klines are read. Every window is compared on every figure that both have, exactly, and kept in
    gold.reconciliation with both figures. A window that has not ended a minute ago is left out.

    Exits with 1 when a window differs, or is missing, for no reason that is known of our recording.

    Setting: K2_REST_ENDPOINT to ask a simulator instead of the exchanges.

    Example: k2 reconcile --exchange binance --symbol BTC-USDT --from 2026-03-01 --to 2026-03-02
    """
    from k2_cli.reconciling import reconcile_with_exchange, reconcile_with_files

    name = known_exchange(exchange).name
    canonical = canonical_symbol(symbol) or symbol
    between = _utc(start), _utc(end)
    if paths:
        reconcile_with_files(home, name, canonical, paths, between)
        return
    if between[0] is None or between[1] is None:
        raise UsageError("say from when to when: --from 2026-03-01 --to 2026-03-02, or give files.")
    if between[0] >= between[1]:
        raise UsageError(f"--from {start} is not before --to {end}: there is no window between.")
    frame = known_timeframe(timeframe)
    reconcile_with_exchange(home, name, canonical, frame, (between[0], between[1]))


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)
