"""The trades of a chaos run: made by a seed, written to Kafka, and remembered as the truth.

A batch has trades of today and of days long gone, repeats that were received later or earlier than
the first, frames that no parser can read, rows that break a rule and frames without market data,
in whatever order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

from confluent_kafka import KafkaError, Message, Producer

from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import HEADER_KEY, Origin, encode_header
from k2_feeds.kafka.topics import raw_topic
from k2_market.errors import InvariantBroken
from k2_market.kinds import Kind

EXCHANGE = "binance"
SYMBOLS = {"BTCUSDT": "BTC-USDT", "ETHUSDT": "ETH-USDT", "SOLUSDT": "SOL-USDT"}
LONG_AGO = date(2024, 8, 8)
_FLUSH_S = 30.0


@dataclass(frozen=True)
class Trade:
    """A trade as the exchange made it; ``symbol`` is the exchange's spelling."""

    symbol: str
    trade_id: int
    at: datetime
    price: str
    quantity: str
    buyer_is_maker: bool

    def payload(self) -> bytes:
        """The frame of Binance's combined stream that tells of it."""
        at_ms = int(self.at.timestamp() * 1000)
        data = {
            "e": "trade",
            "E": at_ms + 1,
            "s": self.symbol,
            "t": self.trade_id,
            "p": self.price,
            "q": self.quantity,
            "T": at_ms,
            "m": self.buyer_is_maker,
        }
        frame = {"stream": f"{self.symbol.lower()}@trade", "data": data}
        return json.dumps(frame, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Sent:
    """A frame and what is to become of it: a trade, a rejected row where ``bad``, or neither."""

    payload: bytes
    received_us: int
    trade: Trade | None = None
    bad: bool = False
    key: str | None = None
    partition: int = -1
    offset: int = -1


@dataclass
class Market:
    """Makes batches; the same seed and days give the same trades."""

    rng: random.Random
    today: date
    made: list[Trade] = field(default_factory=list)
    _clocks: dict[tuple[str, date], tuple[int, datetime]] = field(default_factory=dict)

    @property
    def days(self) -> list[date]:
        """Those that trades happen on; the first is today."""
        return [self.today, self.today - timedelta(days=1), LONG_AGO]

    def batch(self, size: int) -> list[Sent]:
        """So many frames, in the order in which they reach Kafka."""
        others = self.rng.random() < 0.2
        late = self.rng.choice(self.days[1:])
        frames = [
            self._frame(late if others and self.rng.random() < 0.2 else self.today)
            for _ in range(size - 1)
        ]
        frames.append(self._bad(self._trade(self.today, kept=False)))
        if self.rng.random() < 0.5:
            self.rng.shuffle(frames)
        return frames

    def _frame(self, day: date) -> Sent:
        draw = self.rng.random()
        if draw < 0.07:
            return self._bad(self._trade(day, kept=False))
        if draw < 0.10:
            return Sent(b'{"result":null,"id":1}', _micros(datetime.now(UTC)))
        if draw < 0.22 and self.made:
            trade = self.rng.choice(self.made[-200:])
            # Mostly later than the first time, sometimes earlier: then it is the one to keep.
            moved = self.rng.choice([900, 70, -3])
            return self._sent(trade, moved)
        return self._sent(self._trade(day), 5)

    def _sent(self, trade: Trade, after_ms: int) -> Sent:
        received = _micros(trade.at) + after_ms * 1000 + self.rng.randrange(1000)
        return Sent(trade.payload(), received, trade, key=trade.symbol)

    def _bad(self, trade: Trade) -> Sent:
        good = trade.payload()
        payload = self.rng.choice(
            [
                good[: len(good) // 2],
                replace(trade, price="0").payload(),
                replace(trade, quantity="much").payload(),
                good.replace(b'"t":', b'"id":'),
            ]
        )
        return Sent(payload, _micros(trade.at) + 5000, bad=True, key=trade.symbol)

    def _trade(self, day: date, *, kept: bool = True) -> Trade:
        """The next one of some symbol on that day; ids follow time, as an exchange's do."""
        symbol = self.rng.choice(list(SYMBOLS))
        first = day.toordinal() * 1_000_000
        midnight = datetime.combine(day, time.min, tzinfo=UTC)
        trade_id, at = self._clocks.get((symbol, day), (first, midnight))
        at += timedelta(milliseconds=self.rng.choice([0, 1, 250, 4_000, 31_000]))
        price, quantity = self.rng.randint(1, 9_999_999), self.rng.randint(1, 99_999_999)
        trade = Trade(
            symbol,
            trade_id,
            min(at, midnight + timedelta(days=1, milliseconds=-1)),
            f"{price / 100:.2f}",
            f"{quantity / 100_000:.5f}",
            self.rng.random() < 0.5,
        )
        if kept:
            self._clocks[symbol, day] = (trade_id + 1, at)
            self.made.append(trade)
        return trade


def produce(kafka: KafkaSettings, frames: Sequence[Sent]) -> list[Sent]:
    """Write the frames to the raw topic; the same with the places that Kafka gave them."""
    placed: list[Sent] = []
    config = kafka.client(enable_idempotence=True, acks="all", partitioner="consistent")
    client = Producer(config)
    for number, frame in enumerate(frames):
        client.produce(
            raw_topic(Kind.TRADES, EXCHANGE),
            frame.payload,
            frame.key,
            headers=[(HEADER_KEY, encode_header(frame.received_us, 1, number, Origin.LIVE))],
            on_delivery=partial(_placed, placed, frame),
        )
    client.flush(_FLUSH_S)
    if len(placed) < len(frames):
        raise InvariantBroken(f"Kafka took {len(placed)} of {len(frames)} frames")
    return placed


def _placed(placed: list[Sent], frame: Sent, error: KafkaError | None, message: Message) -> None:
    if error is None:
        found = replace(frame, partition=message.partition(), offset=message.offset())
        placed.append(found)


def _micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000 + at.microsecond
