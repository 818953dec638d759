"""What live streams need of the tail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Protocol

import pyarrow as pa
from pyiceberg.table import Table

from k2_market.kinds import Kind


class Freshness(Protocol):
    """How fresh rows are: ``tail`` is live, down or off; live ones are all that came so far."""

    @property
    def tail(self) -> str:
        """The state's name."""

    @property
    def through(self) -> datetime | None:
        """Up to when, while it is live."""


class Waiting(Protocol):
    """What one state of a table lacks; some rows the table may have nevertheless."""

    @property
    def freshness(self) -> Freshness:
        """Whether these are all."""

    def rows(self, symbols: Collection[str] | None = None) -> pa.Table:
        """The rows, each key once."""


class Source(Protocol):
    """Follows Kafka in a thread of its own."""

    def listen(self, listener: Callable[[Kind, pa.Table], None]) -> Callable[[], None]:
        """Call the listener with rows of a topic as they come; returns how to end it.

        What was given is in every view that is opened afterwards, or in the table.
        """

    def begun(self, kind: Kind, exchange: str) -> int:
        """How often it began to follow the topic: between two beginnings rows may be missing."""

    def state(self, kind: Kind, exchanges: Iterable[str] | None = None) -> Freshness:
        """How fresh it is."""

    def view(
        self, kind: Kind, table: Table | None, exchanges: Iterable[str] | None = None
    ) -> Waiting:
        """What that state of the table lacks."""
