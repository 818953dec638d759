"""Bitstamp: addresses, subscriptions, frames and trades of its public feed.

Source: "Websocket API v2" of Bitstamp (Subscriptions, Channels, Live ticker).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

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
from k2_feeds.faults import WHOLE_FRAME, fault, read_object, reading_of, routed
from k2_feeds.vendor_data import text_maps
from k2_market.records import TRADE

_TRADES = "live_trades_"
_BOOKS = ("order_book_", "detail_order_book_", "diff_order_book_")
_ORDER_EVENTS = {"order_created", "order_changed", "order_deleted"}
_CONTROL_EVENTS = {
    "bts:subscription_succeeded",
    "bts:unsubscription_succeeded",
    "bts:error",
    "bts:heartbeat",
    "bts:request_reconnect",
}
_CHANNEL, _TRADE_END = b'"channel":"', b'"event":"trade"}'
_UNKNOWN = Route(Channel.UNKNOWN)
_CONDITIONS = TRADE.schema.field("trade_conditions").type
_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
# Seventeen digits of microseconds reach the year 5138.
_Micros = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,17}$")]

# Silence means nothing: the server pings by WebSocket, and bts:heartbeat only answers the client's.
# "Maximum connection age is 90 days", and a request to reconnect comes before.
_LIVENESS = Liveness(silent_after_s=None, rotate_after_s=None)
# No numbers are documented. A refused channel is answered by an error that does not name it.
_LIMITS = Limits(streams=None, messages_per_s=20, one_at_a_time=True)


class Trade(msgspec.Struct, gc=False):
    """``{"id":113565,"microtimestamp":"1653978373164007","price_str":"31524.50","type":0,...}``.

    ``microtimestamp`` is text. ``price`` and ``amount`` are numbers, ``price_str`` and
    ``amount_str`` the same with the exchange's own digits. The numbers of the orders stay as they
    came: K2 calculates nothing with them.
    """

    id: _Id
    microtimestamp: _Micros
    price_str: str
    amount_str: str
    type: Literal[0, 1]
    buy_order_id: msgspec.Raw = msgspec.Raw(b"")
    sell_order_id: msgspec.Raw = msgspec.Raw(b"")


class Frame(msgspec.Struct, gc=False):
    """``{"data":{...},"channel":"live_trades_btcusd","event":"trade"}``.

    The channel alone names the pair.
    """

    data: Trade
    channel: Annotated[str, msgspec.Meta(pattern=f"^{_TRADES}.")]
    event: Literal["trade"]


@dataclass(frozen=True)
class Bitstamp:
    """Bitstamp's markets: spot, and perpetuals counted in units of base."""

    exchange: str = "bitstamp"
    endpoint: str = "wss://ws.bitstamp.net"
    liveness: Liveness = _LIVENESS
    limits: Limits = _LIMITS
    backups: tuple[str, ...] = ()

    def url(self, symbols: Sequence[str], endpoint: str | None = None) -> str:  # noqa: ARG002
        """The host itself; ``<endpoint>/bitstamp`` where the endpoint is replaced."""
        return self.endpoint if endpoint is None else f"{endpoint}/bitstamp"

    def subscribe(self, symbols: Sequence[str]) -> list[str]:
        """A message for each channel."""
        messages = [
            {"event": "bts:subscribe", "data": {"channel": channel}}
            for channel in map(self._channel, symbols)
        ]
        return [msgspec.json.encode(m).decode() for m in messages]

    def awaited(self, symbols: Sequence[str]) -> frozenset[str]:
        """The channels. A pair that does not exist is acknowledged too, and then silent."""
        return frozenset(map(self._channel, symbols))

    def answers(self, payload: bytes) -> list[Answer]:
        """``bts:subscription_succeeded`` with the channel, or ``bts:error``, mostly without one."""
        if payload.endswith(_TRADE_END):
            return []
        message = read_object(payload)
        channel = _text(message, "channel") or None
        if message.get("event") == "bts:subscription_succeeded":
            return [Answer(True, channel)]
        if message.get("event") == "bts:error":
            return [Answer(False, channel, _text(message.get("data"), "message") or "")]
        return []

    def announces_close(self, payload: bytes) -> bool:
        """``bts:request_reconnect``.

        "After you receive this request, you will have a few seconds to reconnect. Without doing so,
        you will automatically be disconnected."
        """
        return read_object(payload).get("event") == "bts:request_reconnect"

    def exchange_symbol(self, symbol: str) -> str:
        """``BTC-USD`` is ``btcusd``, ``BTC-USD-PERP`` is ``btcusd-perp``."""
        base, quote, contract = legs(symbol)
        return (f"{base}{quote}" + (f"-{contract}" if contract else "")).lower()

    def _channel(self, symbol: str) -> str:
        return _TRADES + self.exchange_symbol(symbol)

    def classify(self, payload: bytes) -> Route:
        """By the end of a frame, where trades have channel and event, else by decoding."""
        if payload.endswith(_TRADE_END):
            start = payload.rfind(_CHANNEL) + len(_CHANNEL)
            route = _usual_route(payload[start : payload.find(b'"', start)])
            if route.channel is not Channel.UNKNOWN:
                return route
        return routed(payload, _route)

    decode = staticmethod(msgspec.json.Decoder(Frame).decode)

    def rows(self, decoded: Sequence[Frame]) -> tuple[list[int], list[int], list[Any]]:
        """One trade in each frame."""
        return list(range(len(decoded))), [0] * len(decoded), list(decoded)

    def reread(self, payload: bytes) -> Reading:
        """A frame of another channel, or a fault."""
        return reading_of(payload, _route, lambda _: _reread(payload))

    def columns(self, rows: Sequence[Any]) -> TradeColumns:
        """The columns of trades; the two orders go into vendor_data."""
        trades = [frame.data for frame in rows]
        ids = pa.array([t.id for t in trades], pa.int64())
        return TradeColumns(
            exchange_symbol=pa.array([f.channel.removeprefix(_TRADES) for f in rows], pa.string()),
            trade_id=ids.cast(pa.string()),
            source_sequence=ids,
            timestamp=pa.array([t.microtimestamp for t in trades], pa.string()).cast(pa.int64()),
            event_time=pa.nulls(len(rows), pa.int64()),
            price=pa.array([t.price_str for t in trades], pa.string()),
            quantity=pa.array([t.amount_str for t in trades], pa.string()),
            side=taker_side(pa.array([t.type for t in trades], pa.int8())),
            trade_conditions=pa.nulls(len(rows), _CONDITIONS),
            vendor_data=text_maps(
                ("buy_order_id", "sell_order_id"),
                [(_written(t.buy_order_id), _written(t.sell_order_id)) for t in trades],
            ),
            candle_eligible=pa.repeat(pa.scalar(True), len(rows)),
            trade_count=pa.repeat(pa.scalar(1, pa.int64()), len(rows)),
        )


def taker_side(kind: pa.Array[Any]) -> pa.Array[Any]:
    """``type``: "Trade type (0 - buy; 1 - sell)", of the order that took.

    The sentence, of "Live ticker", does not say whose order. Captured trades do: the order on that
    side has the higher number of the two, so it came when the other was in the book.
    """
    side: pa.Array[Any] = pc.if_else(pc.equal(kind, pa.scalar(0, pa.int8())), "buy", "sell")
    return side


def _reread(payload: bytes) -> Reading:
    try:
        return Reading(Channel.TRADES, rows=[(0, Bitstamp.decode(payload))])
    except WIRE_ERRORS as error:
        return Reading(Channel.TRADES, faults=[fault(error, payload, WHOLE_FRAME)])


def _route(message: Any) -> Route:
    if not isinstance(message, dict):
        return _UNKNOWN
    event, channel = message.get("event"), _text(message, "channel") or ""
    if event == "trade":
        return _usual_route(channel.encode(errors="replace"))
    if isinstance(event, str) and event in _CONTROL_EVENTS:
        return Route(Channel.CONTROL)
    if event == "data" and channel.startswith(_BOOKS):
        return Route(Channel.OTHER)
    if event == "funding_rate_saved" or (isinstance(event, str) and event in _ORDER_EVENTS):
        return Route(Channel.OTHER)
    return _UNKNOWN


@lru_cache(maxsize=8192)
def _usual_route(channel: bytes) -> Route:
    prefix, found, symbol = channel.decode(errors="replace").partition(_TRADES)
    return Route(Channel.TRADES, symbol) if found and symbol and not prefix else _UNKNOWN


def _text(found: Any, name: str) -> str | None:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else None


def _written(number: msgspec.Raw) -> str | None:
    text = bytes(number)
    return text.decode() if text not in (b"", b"null") else None


BITSTAMP = Bitstamp()
