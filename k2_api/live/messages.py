"""Rows on their way to readers: each made into text once, however many read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from k2_api.answers.messages import rows_message
from k2_api.live.cursor import State, encode
from k2_api.live.places import Place, Position

# A row takes about 700 bytes: a message stays below the 1 MiB that clients accept by default.
ROWS_IN_MESSAGE = 500


class Row(NamedTuple):
    """A row as JSON text, with its symbol, its place and its time in us since 1970 UTC."""

    symbol: str
    place: Place
    text: str
    at: int


@dataclass(frozen=True)
class Message:
    """Rows of one symbol; ``after`` is the position of whoever has read it and all before."""

    channel: str
    exchange: str
    symbol: str
    rows: Sequence[str]
    after: Position
    since: int | None = None

    @cached_property
    def text(self) -> str:
        """The message as it is sent, with the cursor of a stream of this symbol alone."""
        state = State(self.after.reached, since=self.since)
        question = question_of(self.channel, self.exchange, self.symbol)
        cursor = encode([state], question)
        return rows_message(self.channel, self.exchange, self.symbol, self.rows, cursor)


def question_of(channel: str, exchange: str, symbol: str) -> str:
    """What the cursor of one subscription belongs to."""
    return f"live {channel} {exchange} {symbol}"


def messages_of(
    channel: str,
    exchange: str,
    rows: Sequence[Row],
    after: Position,
    since: int | None = None,
) -> list[Message]:
    """A message for each symbol among the rows, by symbol."""
    by_symbol: dict[str, list[str]] = {}
    for row in rows:
        by_symbol.setdefault(row.symbol, []).append(row.text)
    return [
        Message(channel, exchange, symbol, texts, after, since)
        for symbol, texts in sorted(by_symbol.items())
    ]
