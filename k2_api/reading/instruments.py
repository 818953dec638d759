"""Instruments by the page: their terms now, or as they were at an instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field
from pyiceberg.expressions import AlwaysTrue, EqualTo

from k2_api.questions import cursor as cursors
from k2_api.questions.parameters import AS_OF, DEFAULT_LIMIT, MAX_LIMIT
from k2_api.reading.queries import row_json
from k2_api.reading.reader import LakeReader, Pinned, pinned, read_from
from k2_api.reading.symbols import require_exchange
from k2_lake.tables import INSTRUMENTS_TABLE
from k2_market.instants import instant
from k2_market.instruments import canonical_symbol
from k2_market.listing import INSTRUMENT

_ORDER = ", ".join(INSTRUMENT.key)
_NAMED = "(symbol = $symbol or list_contains(list_transform(names, lambda n: upper(n)), $name))"
_NOW = "valid_to is null"
_THEN = "valid_from <= $at and (valid_to is null or $at < valid_to)"


class InstrumentParameters(BaseModel):
    """The parameters of instruments. One that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    symbol: str | None = Field(
        None,
        max_length=64,
        description="In any spelling that the exchange has: BTC-USD, XXBTZUSD, XBT/USD, btcusd.",
    )
    exchange: str | None = Field(None, max_length=64, description="Such as kraken. Default: all.")
    at: str | None = Field(
        None,
        max_length=40,
        description="The terms as they were at this instant with a zone, or at this date's "
        "midnight (UTC). Default: those that hold now.",
    )
    as_of: str | None = AS_OF
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="The most rows of a page.")
    cursor: str | None = Field(
        None, max_length=1024, description="`next_cursor` of the page before, all else unchanged."
    )

    @property
    def question(self) -> str:
        """What a cursor belongs to: everything that was asked but the size of a page."""
        parts = (INSTRUMENTS_TABLE, self.exchange, self.symbol, self.at, self.as_of)
        return msgspec.json.encode(parts).decode()

    @property
    def after(self) -> cursors.Cursor | None:
        """Where the page before ended. Raises UsageError."""
        if self.cursor is None:
            return None
        return cursors.decode(self.cursor, self.question, ties=False)


@dataclass(frozen=True)
class InstrumentPage:
    """Rows as JSON texts, and how to go on."""

    rows: list[str]
    snapshot_id: int | None
    at: datetime | None
    next_cursor: str | None


def page(reader: LakeReader, asked: InstrumentParameters) -> InstrumentPage:
    """One page by exchange, symbol and valid_from.

    Raises UsageError, UnknownName for an exchange, LakeUnavailable.
    """
    exchange = require_exchange(asked.exchange)
    at = None if asked.at is None else instant("at", asked.at)
    after = asked.after
    where, values = _condition(exchange, at, asked, after)
    table = reader.table(INSTRUMENTS_TABLE)
    state = pinned(table, asked.as_of, None if after is None else after.snapshot)
    pruned = AlwaysTrue() if exchange is None else EqualTo("exchange", exchange)
    files = reader.plan(INSTRUMENTS_TABLE, table, pruned, (INSTRUMENTS_TABLE, exchange), state)
    sql = (
        f"select {row_json(INSTRUMENT)} from "
        f"(select * from {{rows}} where {where} order by {_ORDER} limit $limit) order by {_ORDER}"
    )
    found = [str(r[0]) for r in reader.run(sql, files, {**values, "limit": asked.limit + 1}, table)]
    rows, more = found[: asked.limit], len(found) > asked.limit
    return InstrumentPage(
        rows, read_from(table, state), at, _behind(rows[-1], asked, state) if more else None
    )


def _condition(
    exchange: str | None,
    at: datetime | None,
    asked: InstrumentParameters,
    after: cursors.Cursor | None,
) -> tuple[str, dict[str, Any]]:
    parts, values = [_NOW if at is None else _THEN], {} if at is None else {"at": at}
    found: dict[str, Any] = dict(values)
    if exchange is not None:
        parts.append("exchange = $exchange")
        found["exchange"] = exchange
    if asked.symbol is not None:
        parts.append(_NAMED)
        found |= {"symbol": canonical_symbol(asked.symbol), "name": asked.symbol.upper()}
    if after is not None:
        names = [f"after_{column}" for column in INSTRUMENT.key]
        parts.append(f"({_ORDER}) > ({', '.join('$' + n for n in names)})")
        found |= dict(zip(names, after.key, strict=True))
    return " and ".join(parts), found


def _behind(row: str, asked: InstrumentParameters, state: Pinned | None) -> str:
    last = msgspec.json.decode(row)
    key = [last[column] for column in INSTRUMENT.key]
    key[2] = datetime.fromisoformat(key[2])
    snapshot = None if state is None else state.snapshot_id
    return cursors.encode(cursors.after(None, key, snapshot), asked.question)
