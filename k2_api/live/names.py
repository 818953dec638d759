"""What a client may name: channels, exchanges and symbols as the tables write them."""

from __future__ import annotations

from dataclasses import dataclass

from k2_api.live.messages import question_of
from k2_api.questions.live import LiveParameters
from k2_api.questions.parameters import names
from k2_api.questions.timeframes import Grain, grain
from k2_api.reading.symbols import Symbols, require_exchange
from k2_lake.tables import TRADES_TABLE, gold_name
from k2_market.errors import UnknownName, UsageError
from k2_market.instruments import canonical_symbol
from k2_market.kinds import Kind

OHLCV = "ohlcv"


@dataclass(frozen=True)
class Subject:
    """What one subscription is about."""

    channel: str
    exchange: str
    symbol: str

    @property
    def kind(self) -> Kind:
        """Whose rows make its messages: trades make candles."""
        return Kind.TRADES if self.grain is not None else Kind(self.channel)

    @property
    def grain(self) -> Grain | None:
        """The windows of candles, None for what is no candle."""
        head, _, timeframe = self.channel.partition(".")
        return grain(timeframe) if head == OHLCV else None

    @property
    def question(self) -> str:
        """What its cursors belong to."""
        return question_of(self.channel, self.exchange, self.symbol)


def subject(symbols: Symbols, channel: str, exchange: str, symbol: str) -> Subject:
    """What is meant by these names; blocks. Raises UsageError, UnknownName, LakeUnavailable.

    A symbol is known once a table has a row of it; of an exchange that no table knows yet, any is.
    """
    if channel not in list(Kind) and channel.partition(".")[0] != OHLCV:
        raise UnknownName("channel", channel, [*Kind, "ohlcv.1m"])
    known = require_exchange(exchange)
    kind = Subject(channel, known, symbol).kind
    return Subject(channel, known, _symbol(symbols, kind, known, symbol))


def _symbol(symbols: Symbols, kind: Kind, exchange: str, symbol: str) -> str:
    trades = symbols.listing(TRADES_TABLE)
    of_kind = symbols.listing(gold_name(kind))
    canonical = canonical_symbol(symbol)
    if canonical is not None and not trades.matching([exchange], ()):
        return canonical
    try:
        return of_kind.resolve(symbol, [exchange])
    except UnknownName:
        return trades.resolve(symbol, [exchange])


def subjects(symbols: Symbols, said: LiveParameters, most: int) -> list[Subject]:
    """All that a request names; blocks. Raises UsageError, UnknownName, LakeUnavailable.

    A symbol that only some of the exchanges have is left out for the others.
    """
    found: dict[Subject, None] = {}
    for name in names("symbol", said.symbol):
        here, unknown = [], None
        for channel in names("channels", said.channels):
            for exchange in names("exchange", said.exchange):
                try:
                    here.append(subject(symbols, channel, exchange, name))
                except UnknownName as error:
                    if error.kind != "symbol":
                        raise
                    unknown = error
        if not here and unknown is not None:
            raise unknown
        found.update(dict.fromkeys(here))
    if len(found) > most:
        raise UsageError(
            f"symbol: {len(found)} subscriptions, {most} are the most of a connection."
        )
    return list(found)
