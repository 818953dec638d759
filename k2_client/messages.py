"""The messages of a stream, as live and replay give them: rows of one channel and instrument."""

from __future__ import annotations

import msgspec

from k2_client.problems import BadAnswer, K2Problem, Told, of_told
from k2_client.rows import Candle, Quote, Trade


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    channel: str
    exchange: str
    symbol: str


class Trades(_Message, frozen=True, kw_only=True, tag="trades"):
    """Trades of an instrument; ``cursor`` is where to go on behind them."""

    rows: list[Trade] = msgspec.field(name="data")
    cursor: str | None


class Quotes(_Message, frozen=True, kw_only=True, tag="quotes"):
    """Quotes of an instrument; ``cursor`` is where to go on behind them."""

    rows: list[Quote] = msgspec.field(name="data")
    cursor: str | None


class Candles(_Message, frozen=True, kw_only=True, tag="ohlcv"):
    """Candles of an instrument; one that is not ``final`` comes again when it has changed."""

    rows: list[Candle] = msgspec.field(name="data")
    cursor: str | None


class Subscribed(_Message, frozen=True, kw_only=True, tag="subscribed"):
    """A subscription has begun; ``cursor`` is where it begins."""

    cursor: str | None = None


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """The end of a page of a replay."""

    cursor: str | None
    has_more: bool = False


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    """What was asked cannot be done; ``code`` is that of a problem."""

    code: str
    detail: str

    @property
    def problem(self) -> K2Problem:
        """The typed error. A message has no status of its own."""
        status = 404 if self.code.startswith("unknown_") else 503
        status = 422 if self.code.startswith("invalid_") else status
        return of_told(Told(status, self.detail, self.code))


Rows = Trades | Quotes | Candles
Message = Rows | Subscribed | End | Refusal

_MESSAGE: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message, strict=False)


class _Head(msgspec.Struct):
    type: str


_HEAD = msgspec.json.Decoder(_Head)
_KNOWN = {"trades", "quotes", "ohlcv", "subscribed", "end", "error"}


def read_message(text: str | bytes) -> Message | None:
    """The message; None for one of a type that is none of a reader's business. Raises BadAnswer."""
    try:
        return _MESSAGE.decode(text)
    except msgspec.MsgspecError as error:
        why = str(error)
    try:
        if _HEAD.decode(text).type not in _KNOWN:
            return None
    except msgspec.MsgspecError:
        pass
    raise BadAnswer(f"a message is not one that this client knows: {why}.")
