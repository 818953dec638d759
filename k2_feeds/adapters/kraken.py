"""Kraken spot, WebSocket v2: addresses, subscriptions, frames and trades.

Sources: "Spot WebSocket v2" (Trade, Subscribe, Heartbeat, Status, Ping) of Kraken's API reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa

from k2_feeds.adapter import (
    WIRE_ERRORS,
    Answer,
    Channel,
    Limits,
    Liveness,
    Reading,
    Route,
    TradeColumns,
    legs,
)
from k2_feeds.faults import (
    WHOLE_FRAME,
    fault,
    malformed,
    read_json,
    read_object,
    routed,
    unknown,
)
from k2_market.records import TRADE

_CHANNELS = {
    "trade": Channel.TRADES,
    "ticker": Channel.QUOTES,
    "heartbeat": Channel.CONTROL,
    "status": Channel.CONTROL,
} | dict.fromkeys(
    "book level3 ohlc instrument executions balances".split(),
    Channel.OTHER,
)
# Control messages of v1, which a session meets when it connects without /v2.
_V1_EVENTS = ("heartbeat", "systemStatus", "subscriptionStatus", "pong", "error")
_CHANNEL, _SYMBOL = b'{"channel":"', b'"symbol":"'
_UNKNOWN = Route(Channel.UNKNOWN)
_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_VENDOR_DATA = TRADE.schema.field("vendor_data").type
_CONDITIONS = TRADE.schema.field("trade_conditions").type


class Trade(msgspec.Struct, gc=False):
    """``{"symbol":"BTC/USD","side":"buy","price":4136.4,"qty":0.23,"trade_id":4665906,...}``.

    Price and quantity are JSON numbers, kept as the characters they came in. ``side`` is "Side of
    taker order"; ``timestamp`` is "The book order update timestamp", RFC 3339.
    """

    symbol: str
    side: str
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: _Id
    timestamp: str
    ord_type: str | None = None


class Frame(msgspec.Struct, gc=False):
    """A snapshot (the newest 50 trades, once after subscribing) or an update of some trades."""

    channel: Literal["trade"]
    type: Literal["snapshot", "update"]
    data: list[Trade]


class Envelope(msgspec.Struct, gc=False):
    """A Frame whose rows have not been looked at."""

    channel: Literal["trade"]
    type: Literal["snapshot", "update"]
    data: list[msgspec.Raw]


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_trade = msgspec.json.Decoder(Trade).decode

# A heartbeat comes every second in which nothing else does.
_LIVENESS = Liveness(silent_after_s=10, rotate_after_s=None)
# No number of symbols is documented; all of them go into one message.
_LIMITS = Limits(streams=None, messages_per_s=5)


@dataclass(frozen=True)
class Kraken:
    """Kraken's spot market."""

    exchange: str = "kraken"
    endpoint: str = "wss://ws.kraken.com"
    liveness: Liveness = _LIVENESS
    limits: Limits = _LIMITS
    backups: tuple[str, ...] = ()

    def url(self, symbols: Sequence[str], endpoint: str | None = None) -> str:  # noqa: ARG002
        """``wss://ws.kraken.com/v2``."""
        return (endpoint or self.endpoint) + "/v2"

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """One message for all symbols; the snapshot of 50 trades fills what a reconnect missed."""
        names = [self.exchange_symbol(s) for s in symbols]
        params = {"channel": "trade", "symbol": names, "snapshot": True}
        return [msgspec.json.encode({"method": "subscribe", "params": params}).decode()]

    def awaited(self, symbols: Sequence[str]) -> frozenset[str]:
        """Each symbol of a request is answered by a message of its own."""
        return frozenset(self.exchange_symbol(s) for s in symbols)

    def answers(self, payload: bytes) -> list[Answer]:
        """``success`` is true with ``result.symbol``, or false with ``error`` and ``symbol``."""
        if payload.startswith(_CHANNEL):
            return []
        message = read_object(payload)
        if message.get("method") not in ("subscribe", "error"):
            return []
        if message.get("success") is True:
            return [Answer(True, _text(message.get("result"), "symbol"))]
        return [Answer(False, _text(message, "symbol"), str(message.get("error", "")))]

    def announces_close(self, payload: bytes) -> bool:  # noqa: ARG002
        """Kraken has no such message."""
        return False

    def exchange_symbol(self, symbol: str) -> str:
        """``BTC-USDT`` is ``BTC/USDT``: v2 says BTC and DOGE where v1 said XBT and XDG."""
        base, quote, _ = legs(symbol)
        return f"{base}/{quote}"

    def classify(self, payload: bytes) -> Route:
        """By the channel that every frame of v2 begins with, else by decoding."""
        if payload.startswith(_CHANNEL):
            name = payload[len(_CHANNEL) : payload.find(b'"', len(_CHANNEL))]
            route = _usual_route(name, _first_symbol(payload))
            if route.channel is not Channel.UNKNOWN:
                return route
        return routed(payload, _route)

    decode = staticmethod(msgspec.json.Decoder(Frame).decode)

    def rows(self, decoded: Sequence[Frame]) -> tuple[list[int], list[int], list[Any]]:
        """Every trade of every frame."""
        frame = [i for i, f in enumerate(decoded) for _ in f.data]
        index = [j for f in decoded for j in range(len(f.data))]
        return frame, index, [row for f in decoded for row in f.data]

    def reread(self, payload: bytes) -> Reading:
        """The good and the bad rows of a frame of trades, or a frame of another channel."""
        try:
            envelope = _decode_envelope(payload)
        except WIRE_ERRORS as error:
            return _other_frame(payload, error)
        reading = Reading(Channel.TRADES)
        for index, raw in enumerate(envelope.data):
            _read_row(raw, index, reading)
        return reading

    def columns(self, rows: Sequence[Any]) -> TradeColumns:
        """The columns of trades; what kind of order the taker sent goes into vendor_data."""
        ids = pa.array([r.trade_id for r in rows], pa.int64())
        return TradeColumns(
            exchange_symbol=pa.array([r.symbol for r in rows], pa.string()),
            trade_id=ids.cast(pa.string()),
            source_sequence=ids,
            timestamp=pa.array([r.timestamp for r in rows], pa.string()),
            event_time=pa.nulls(len(rows), pa.int64()),
            price=pa.array([bytes(r.price) for r in rows], pa.binary()),
            quantity=pa.array([bytes(r.qty) for r in rows], pa.binary()),
            side=pa.array([r.side for r in rows], pa.string()),
            trade_conditions=pa.nulls(len(rows), _CONDITIONS),
            vendor_data=_order_types([r.ord_type for r in rows]),
            candle_eligible=pa.repeat(pa.scalar(True), len(rows)),
            trade_count=pa.repeat(pa.scalar(1, pa.int64()), len(rows)),
        )


def _other_frame(payload: bytes, error: BaseException) -> Reading:
    try:
        message = read_json(payload)
    except WIRE_ERRORS as unreadable:
        return malformed(unreadable)
    channel = _route(message).channel
    if channel is Channel.UNKNOWN:
        return unknown(message)
    if channel is Channel.TRADES:
        return Reading(channel, faults=[fault(error, payload, WHOLE_FRAME)])
    return Reading(channel)


def _read_row(raw: msgspec.Raw, index: int, reading: Reading) -> None:
    try:
        reading.rows.append((index, _decode_trade(raw)))
    except WIRE_ERRORS as error:
        reading.faults.append(fault(error, raw, index))


def _route(message: Any) -> Route:
    if not isinstance(message, dict):
        return _UNKNOWN
    name = message.get("channel")
    if isinstance(name, str):
        return Route(_CHANNELS.get(name, Channel.UNKNOWN), _symbol_of(message.get("data")))
    if "method" in message or message.get("event") in _V1_EVENTS:
        return Route(Channel.CONTROL)
    return _UNKNOWN


def _symbol_of(data: Any) -> str | None:
    return _text(data[0], "symbol") if isinstance(data, list) and data else None


@lru_cache(maxsize=8192)
def _usual_route(channel: bytes, symbol: bytes | None) -> Route:
    name = channel.decode(errors="replace")
    text = None if symbol is None else symbol.decode(errors="replace")
    return Route(_CHANNELS.get(name, Channel.UNKNOWN), text)


def _first_symbol(payload: bytes) -> bytes | None:
    start = payload.find(_SYMBOL)
    end = payload.find(b'"', start + len(_SYMBOL))
    return None if start < 0 or end < 0 else payload[start + len(_SYMBOL) : end]


def _text(found: Any, name: str) -> str | None:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else None


def _order_types(order_types: list[str | None]) -> pa.Array[Any]:
    known = [name for name in order_types if name is not None]
    if len(known) == len(order_types):
        return _one_entry_each("ord_type", pa.array(known, pa.string()))
    entries = [None if name is None else [("ord_type", name)] for name in order_types]
    texts: pa.Array[Any] = pa.array(entries, _VENDOR_DATA)
    return texts


def _one_entry_each(key: str, values: pa.Array[Any]) -> pa.Array[Any]:
    """A map of one entry in every row; ten times as fast as from lists of pairs."""
    offsets: Any = pa.array(range(len(values) + 1), pa.int32())
    keys: Any = pa.repeat(key, len(values))
    maps: pa.Array[Any] = pa.MapArray.from_arrays(offsets, keys, values).cast(_VENDOR_DATA)
    return maps


KRAKEN = Kraken()
