"""The contract of an exchange: all that differs between two venues, and nothing else.

An adapter knows addresses, messages and meanings. It holds no socket, clock, environment or log:
the session, the simulator, Kafka and the tables work on this contract and never name a venue.
To add an exchange, write one file in ``k2_feeds/adapters`` and name it in ``EXCHANGES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import pyarrow as pa

from k2_market.errors import UsageError
from k2_market.kinds import Kind

# Whatever reading bytes as JSON can raise: msgspec.DecodeError, invalid UTF-8 and integers of
# thousands of digits are all ValueError; deep nesting is RecursionError.
WIRE_ERRORS = (ValueError, RecursionError)


class Channel(StrEnum):
    """What a frame is about; decides its topic."""

    TRADES = "trades"
    QUOTES = "quotes"
    CONTROL = "control"  # acknowledgement, refusal, heartbeat, pong, status
    OTHER = "other"  # a well-known channel that K2 does not keep: depth, klines, REST snapshots
    UNKNOWN = "unknown"  # malformed, or nothing the exchange is known to send


@dataclass(frozen=True, slots=True)
class Route:
    """Where a frame goes: its channel, and the exchange's symbol (the message key) where known."""

    channel: Channel
    exchange_symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The exchange's answer to a subscription: ``key`` is one of those ``awaited`` named.

    ``key`` is None where a refusal does not say what it refuses. ``detail`` is the exchange's own
    text, empty when it accepted.
    """

    accepted: bool
    key: str | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Liveness:
    """How a living connection of this exchange looks.

    ``silent_after_s``: longest silence in frames before the connection counts as dead; None where
    silence means nothing and only the WebSocket's own pings tell. ``rotate_after_s``: age at which
    to open the next connection because the exchange closes old ones; None where it does not.
    """

    silent_after_s: float | None
    rotate_after_s: float | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the exchange lets one connection ask for.

    ``streams``: how many symbols, None where it names no number. ``messages_per_s``: how many
    messages it takes. ``one_at_a_time``: whether a subscription must be answered before the next is
    asked for, because a refusal does not say what it refuses.
    """

    streams: int | None
    messages_per_s: float
    one_at_a_time: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a frame, or one row of it (``frame_index``; -1 is the whole frame), cannot be read."""

    frame_index: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a patient reading of one frame found: rows with their place in the frame, and faults."""

    channel: Channel
    rows: list[tuple[int, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TradeColumns:
    """Trades in columns, in the words of TRADE, numbers still as the exchange wrote them.

    ``price`` and ``quantity`` are text. ``timestamp`` and ``event_time`` are int64 microseconds
    since 1970 UTC or ISO 8601 text. A ``trade_id`` is unique within exchange and symbol. What an
    exchange says nothing of is None: nulls, but every trade in candles and standing for itself.
    """

    exchange_symbol: pa.Array[Any]
    trade_id: pa.Array[Any]
    source_sequence: pa.Array[Any]
    timestamp: pa.Array[Any]
    price: pa.Array[Any]
    quantity: pa.Array[Any]
    side: pa.Array[Any]
    event_time: pa.Array[Any] | None = None
    trade_conditions: pa.Array[Any] | None = None
    vendor_data: pa.Array[Any] | None = None
    candle_eligible: pa.Array[Any] | None = None
    trade_count: pa.Array[Any] | None = None


@dataclass(frozen=True, slots=True)
class QuoteColumns:
    """Quotes in columns, in the words of QUOTE, numbers still as the exchange wrote them.

    Prices and quantities are text, times as those of trades; a null ``timestamp`` says that the
    exchange gives none, and the time of receipt stands for it. A ``quote_id`` is unique within
    exchange and symbol; null, with a null ``source_sequence``, where the exchange numbers none: one
    is made of time and content. Which quotes are crossed or locked is told from their prices later.
    """

    exchange_symbol: pa.Array[Any]
    quote_id: pa.Array[Any]
    source_sequence: pa.Array[Any]
    timestamp: pa.Array[Any]
    bid_price: pa.Array[Any]
    bid_quantity: pa.Array[Any]
    ask_price: pa.Array[Any]
    ask_quantity: pa.Array[Any]
    event_time: pa.Array[Any] | None = None
    vendor_data: pa.Array[Any] | None = None


Columns = TradeColumns | QuoteColumns


@dataclass(frozen=True, slots=True)
class Parser:
    """How the frames of one kind are read, as pure functions.

    ``decode``: the usual frame, typed and complete; raises one of ``WIRE_ERRORS`` for any other.
    ``rows``: position of the frame, position within it and row, of all rows of decoded frames.
    ``reread``: what a frame is that ``decode`` refused: another channel, some good rows, faults;
    never raises, and a frame of this kind with neither rows nor faults counts as control.
    ``columns``: the columns of rows that are all of one type.
    """

    decode: Callable[[bytes], Any]
    rows: Callable[[Sequence[Any]], tuple[list[int], list[int], list[Any]]]
    reread: Callable[[bytes], Reading]
    columns: Callable[[Sequence[Any]], Columns]


def one_each(decoded: Sequence[Any]) -> tuple[list[int], list[int], list[Any]]:
    """The ``rows`` of a parser whose frames hold one row each, the frame itself."""
    return list(range(len(decoded))), [0] * len(decoded), list(decoded)


def legs(symbol: str) -> tuple[str, str, str | None]:
    """Base, quote and contract (``PERP`` or a delivery date; None where there is none).

    Raises UsageError if it is not written BASE-QUOTE or BASE-QUOTE-CONTRACT.
    """
    base, quote, *contract = symbol.split("-")[:3] if "-" in symbol else ("", "")
    if not base or not quote or symbol.count("-") > 2 or "" in contract:
        raise UsageError(f"symbol {symbol!r} is not written BASE-QUOTE. Write it like BTC-USDT.")
    return base.upper(), quote.upper(), contract[0].upper() if contract else None


class Adapter(Protocol):
    """One exchange. Members are plain functions of their arguments: same input, same answer."""

    @property
    def exchange(self) -> str:
        """K2's name of venue and market: ``binance``, ``binance_usdm``, ``kraken``."""

    @property
    def endpoint(self) -> str:
        """Scheme and host of the public feed: ``wss://ws.kraken.com``, no path."""

    @property
    def backups(self) -> tuple[str, ...]:
        """Other schemes and hosts of the same feed, for when ``endpoint`` does not answer.

        Binance: ``wss://stream.binance.com:443``, ``wss://data-stream.binance.vision``. Kraken
        documents none.
        """

    @property
    def limits(self) -> Limits:
        """Binance spot: 1,024 streams and 5 messages a second. Kraken: no number is documented."""

    @property
    def liveness(self) -> Liveness:
        """Kraken: a heartbeat every second. Binance: pings of WebSocket itself, 24 hours of age."""

    @property
    def parsers(self) -> Mapping[Kind, Parser]:
        """How the frames of each kind are read."""

    def url(self, symbols: Sequence[str], kind: Kind, endpoint: str | None = None) -> str:
        """The address to connect to for these canonical symbols, before ``subscribe`` is sent.

        A connection is of one kind. ``endpoint`` replaces the exchange's own, as
        ``ws://127.0.0.1:9000`` for a simulator. Binance: ``<endpoint>/stream``. Kraken:
        ``<endpoint>/v2``. One host then stands for several exchanges: one whose path is not its own
        alone puts its name before it (``<endpoint>/coinbase``).
        """

    def subscribe(self, symbols: Sequence[str], kind: Kind) -> list[str]:
        """The messages to send once connected, so that trades or quotes of these symbols come.

        Binance: ``{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}``. Kraken:
        ``{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USDT"],...}}``.
        """

    def awaited(self, symbols: Sequence[str], kind: Kind) -> frozenset[str]:
        """The keys of the answers that must all come before the subscription stands.

        Binance answers each message: its id, ``{"1"}``. Kraken answers each symbol:
        ``{"BTC/USDT", "ETH/USDT"}``, and so do Coinbase and Bitstamp in their ways.
        """

    def answers(self, payload: bytes) -> list[Answer]:
        """The answers to subscriptions that this frame gives; none if it is anything else.

        Binance: ``{"result":null,"id":1}`` accepts, ``{"error":{...},"id":1}`` refuses. Kraken:
        ``{"method":"subscribe","success":true,"result":{"symbol":"BTC/USDT",...}}`` accepts,
        ``"success":false`` with ``error`` refuses. Coinbase: ``{"type":"subscriptions",...}`` lists
        all that was accepted so far. Never raises.
        """

    def announces_close(self, payload: bytes) -> bool:
        """Whether this control frame says that the exchange will close the connection soon.

        The session then has the next one up before. Bitstamp: ``bts:request_reconnect``.
        Exchanges without such a message: always False. Never raises.
        """

    def exchange_symbol(self, symbol: str) -> str:
        """The exchange's spelling of a canonical symbol, as it stands in its trades.

        ``BTC-USDT`` is ``BTCUSDT`` on Binance (streams use it in lower case) and ``BTC/USDT`` on
        Kraken. Raises UsageError if ``symbol`` is not written BASE-QUOTE.
        """

    def classify(self, payload: bytes) -> Route:
        """The channel and symbol of a frame, in about a microsecond. Never raises.

        A guess from the first bytes where they are those of a usual frame, a full decoding else;
        it chooses topic and key, the parser alone decides what a frame means.
        """
