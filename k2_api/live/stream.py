"""A stream: the rows of some symbols of one topic, for one reader.

It is live, or it catches up: then what happens meanwhile is held back until history has been read
up to where the held begins. Either way each row is sent once, in the order of its partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from k2_api.live.cursor import State
from k2_api.live.history import Wanted
from k2_api.live.messages import ROWS_IN_MESSAGE, Message, Row, messages_of
from k2_api.live.places import Place, Position, from_micros, to_micros

if TYPE_CHECKING:
    from k2_api.live.topic import AnyStream, Batch, Topic

# More is not held for one who catches up: it is read again from the tail.
_MOST_HELD = 100


class Sink(Protocol):
    """Where the messages of a stream go."""

    def offer(self, message: Message) -> None:
        """Send it, or give the reader up where there is no room."""

    async def put(self, message: Message) -> None:
        """Wait for room and send it."""

    def catch_up(self, stream: AnyStream) -> None:
        """Have somebody read what the stream missed."""

    def ended(self, stream: AnyStream) -> None:
        """All of the stream's range was sent."""

    def tell(self, kind: str, **said: object) -> None:
        """Send a message without rows."""


@dataclass(frozen=True)
class Begin:
    """Where a stream begins: behind that position, None for now.

    ``ahead``: symbols up to this one have had rows up to that further position. ``start`` and
    ``end`` are the times of receipt that it is about; None: no bound.
    """

    behind: Position | None = None
    ahead: tuple[str, Position] | None = None
    start: datetime | None = None
    end: datetime | None = None


def begin_at(state: State) -> Begin:
    """Where a cursor says to go on."""
    ahead = None if state.ahead is None else (state.ahead[0], Position(state.ahead[1]))
    start = None if state.since is None else from_micros(state.since)
    return Begin(Position(state.reached), ahead, start)


class Stream:
    """It belongs to the event loop."""

    def __init__(self, topic: Topic, symbols: frozenset[str], sink: Sink, begin: Begin) -> None:
        self.topic, self.symbols, self.sink = topic, symbols, sink
        self.start, self.end = begin.start, begin.end
        self.ahead = begin.ahead
        self._own = begin.behind
        self._held: list[Batch] | None = None if begin.behind is None else []
        self._overflowed = False

    @property
    def position(self) -> Position:
        """Up to where all its rows were sent: the topic's own, while it is in step with that."""
        return self.topic.position if self._own is None else self._own

    @property
    def state(self) -> State:
        """The same for a cursor."""
        ahead = None if self.ahead is None else (self.ahead[0], self.ahead[1].reached)
        since = self.start
        return State(self.position.reached, ahead, None if since is None else to_micros(since))

    @property
    def wanted(self) -> Wanted:
        """Its rows, as history knows them."""
        topic = self.topic
        return Wanted(topic.kind, topic.exchange, self.symbols, self.start, self.end)

    @property
    def is_live(self) -> bool:
        """Whether it is sent what comes."""
        return self._held is None

    def hold(self) -> None:
        """Hold back what comes from now on."""
        self._own = self.position
        self._held, self._overflowed = [], False

    def take(self, batch: Batch) -> None:
        """Rows came in its topic."""
        if self._held is not None:
            self._hold(batch, self._held)
        elif self._own is None:
            messages = [m for m in batch.messages if m.symbol in self.symbols]
            if len(messages) > 1:
                self._own = batch.before
            self._offer(messages, batch.after)
        else:
            self._offer_new(batch)

    def finish(self) -> bool:
        """Become live, or end where the range does; False where more has to be read again."""
        if self._overflowed:
            return False
        if self.end is not None:
            self.sink.ended(self)
            return True
        # It is in step only behind the last of them: the topic is that far already.
        for batch in self._held or ():
            self._offer_new(batch)
        self._held = None
        self._arrive(self.position)
        return True

    async def send(
        self, rows: Sequence[Row], passed: Sequence[Place], until: Position | None = None
    ) -> None:
        """Send rows of history as fast as the reader takes them.

        Then all these places are passed, and all up to ``until``.
        """
        for first in range(0, len(rows), ROWS_IN_MESSAGE):
            part = rows[first : first + ROWS_IN_MESSAGE]
            after = until or self.position.moved(*(row.place for row in part))
            messages = self._messages(part, after)
            for number, message in enumerate(messages, 1):
                self._move(message, last=number == len(messages))
                await self.sink.put(message)
        self._arrive(self.position.moved(*passed) if until is None else until)

    def _hold(self, batch: Batch, held: list[Batch]) -> None:
        if len(held) < _MOST_HELD:
            held.append(batch)
        else:
            held.clear()
            self._overflowed = True

    def _offer_new(self, batch: Batch) -> None:
        """Of the batch what the stream has not had yet; then see whether it is in step."""
        rows = [
            row
            for row in batch.rows
            if row.symbol in self.symbols and not self.position.passed(row.place)
        ]
        self._offer(self._messages(rows, self.position.joined(batch.after)), batch.after)

    def _messages(self, rows: Sequence[Row], after: Position) -> list[Message]:
        return messages_of(self.topic.channel, self.topic.exchange, rows, after)

    def _offer(self, messages: Sequence[Message], after: Position) -> None:
        for number, message in enumerate(messages, 1):
            self._move(message, last=number == len(messages))
            self.sink.offer(message)
        self._arrive(self.position.joined(after))

    def _move(self, message: Message, *, last: bool) -> None:
        if last:
            self._arrive(message.after)
        else:
            self.ahead = (message.symbol, message.after)

    def _arrive(self, after: Position) -> None:
        self.ahead = None
        in_step = self._held is None and self.topic.position.covers(after)
        self._own = None if in_step else after
