"""``k2 dlq``: what could not be parsed or produced, to look at and to try again."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from k2_cli.home import DEFAULT_HOME
from k2_market.errors import UsageError
from k2_market.exchanges import exchange as known_exchange
from k2_market.kinds import Kind

if TYPE_CHECKING:
    from k2_cli.letters import Asked

dlq = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

# Of one frame; none holds more that a person would read.
ROWS_SHOWN = 1000


class Format(StrEnum):
    """How letters are written."""

    TABLE = "table"
    JSON = "json"


def _day(meaning: str) -> Any:
    return typer.Option(formats=["%Y-%m-%d"], metavar="DAY", help=meaning, show_default=False)


Home = Annotated[Path, typer.Option(envvar="K2_HOME", help="The folder that holds them.")]
Exchange = Annotated[str | None, typer.Option(help="Of this exchange.", show_default=False)]
OfKind = Annotated[Kind | None, typer.Option(help="Of this kind.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="For this reason.", show_default=False)]
Text = Annotated[str | None, typer.Option(help="With this in the detail.", show_default=False)]
Since = Annotated[datetime | None, _day("Arrived on this UTC day or later.")]
Until = Annotated[datetime | None, _day("Arrived on this UTC day or earlier.")]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="This letter; without the row at the end of its name, all of the frame.",
        show_default=False,
    ),
]
Written = Annotated[Format, typer.Option("--format", help="How to write them.")]


@dlq.callback()
def _dlq() -> None:
    """Dead letters: what could not be parsed or produced.

    A frame that cannot be parsed, or a row of it that breaks a rule, is kept in silver.rejected
    with reason, coordinates and bytes. A frame that Kafka refuses is kept in HOME/undelivered.

    A name such as binance/trades/1/0/4711/-1 says where a letter is: exchange, kind, epoch,
    partition, offset, and the row within the frame (-1: the whole frame).
    """


@dlq.command("list")
def list_letters(
    home: Home = DEFAULT_HOME,
    exchange: Exchange = None,
    kind: OfKind = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    letter: Name = None,
    text: Text = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the newest.")] = 20,
    format: Written = Format.TABLE,  # noqa: A002
) -> None:
    """Show how many letters there are for each reason, and the newest.

    Example: k2 dlq list --exchange kraken --reason bad_time --since 2026-03-01
    """
    from k2_cli.letters import DeadLetterOffice
    from k2_cli.show_letters import write_list

    asked = _asked(letter, exchange, kind, reason, since, until, text)
    office = DeadLetterOffice(home)
    write_list(office.counts(asked), office.newest(asked, limit), as_json=format is Format.JSON)


@dlq.command("show")
def show_letter(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `k2 dlq list` gives it.")],
    home: Home = DEFAULT_HOME,
    format: Written = Format.TABLE,  # noqa: A002
) -> None:
    """Show a letter with its bytes, as text and in hex.

    In the text, whatever is not printable is escaped.

    Example: k2 dlq show binance/trades/1/0/4711
    """
    from k2_cli.letters import Asked, DeadLetterOffice
    from k2_cli.show_letters import write_letters

    found = DeadLetterOffice(home).newest(Asked.of(name), ROWS_SHOWN)
    if not found:
        raise UsageError(f"there is no dead letter {name!r}. `k2 dlq list` shows those there are.")
    write_letters(found, as_json=format is Format.JSON)


@dlq.command("replay")
def replay_letters(
    home: Home = DEFAULT_HOME,
    exchange: Exchange = None,
    kind: OfKind = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    letter: Name = None,
    text: Text = None,
) -> None:
    """Try letters again, once what refused them has been put right; all, or those chosen.

    Frames that could not be parsed are parsed again, and what comes out goes to silver exactly
    once; what is still refused stays. Gold and candles follow: at once where nobody works in the
    home, else by the platform that does. Frames that Kafka refused are produced again. Running it
    twice changes nothing.

    Example: k2 dlq replay --exchange kraken --reason unknown_frame
    """
    from k2_cli.redelivery import replay
    from k2_cli.show_letters import write_replayed

    asked = _asked(letter, exchange, kind, reason, since, until, text)
    write_replayed(replay(home, asked))


def _asked(
    letter: str | None,
    exchange: str | None,
    kind: Kind | None,
    reason: str | None,
    since: datetime | None,
    until: datetime | None,
    text: str | None,
) -> Asked:
    from k2_cli.letters import Asked

    return Asked.of(
        letter,
        exchange=None if exchange is None else known_exchange(exchange).name,
        kind=None if kind is None else str(kind),
        reason=reason,
        first_day=None if since is None else since.date(),
        last_day=None if until is None else until.date(),
        text=text,
    )
