"""One definition per record: fields, types, units and meaning.

Arrow schemas are the source. The Iceberg tables, the Avro records, the Pandera rules, the column
descriptions in Dagster and the API's models are all derived from what stands here.

Times are instants in UTC with microseconds; dates are UTC days. Decimals are exact: a value that
does not fit is rejected with its reason, never rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

PRICE = pa.decimal128(18, 8)
QUANTITY = pa.decimal128(28, 8)
QUANTITY_SUM = pa.decimal128(38, 8)
QUOTE_SUM = pa.decimal128(38, 16)
STEP = pa.decimal128(38, 18)
INSTANT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Record:
    """A named Arrow schema together with what makes a row itself.

    ``key`` identifies a row, ``order`` is the order within a file, ``day`` is the UTC day a table
    of this record is partitioned by (empty where it is by none), and ``partition`` lists further
    partition columns.
    """

    name: str
    doc: str
    schema: pa.Schema
    key: tuple[str, ...]
    order: tuple[str, ...]
    day: str
    partition: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The names of the fields, in order."""
        return list(self.schema.names)


def _field(name: str, dtype: pa.DataType, doc: str, *, nullable: bool = False) -> pa.Field[Any]:
    return pa.field(name, dtype, nullable=nullable, metadata={"doc": doc})


_COORDINATES = [
    _field(
        "epoch", pa.int32(), "Life of the topic: a recreated topic or cluster begins a new one."
    ),
    _field("kafka_partition", pa.int32(), "Partition of the raw topic."),
    _field("kafka_offset", pa.int64(), "Offset in the partition."),
]

RAW_FRAME = Record(
    name="RawFrame",
    doc="A WebSocket frame (or archive row) exactly as it came, with its place in Kafka.",
    schema=pa.schema(
        [
            *_COORDINATES,
            _field("kafka_timestamp", INSTANT, "The message's time in Kafka: its arrival."),
            _field("kafka_topic", pa.string(), "The raw topic."),
            _field("exchange_symbol", pa.string(), "The message key, where known.", nullable=True),
            _field("payload", pa.binary(), "The exchange's bytes, untouched."),
            _field("received_at", INSTANT, "When the frame was received from the exchange."),
            _field("connection_id", pa.int64(), "The connection, or the archive file, it came by."),
            _field("sequence", pa.int64(), "Counts the frames of a connection: a hole is a loss."),
            _field("origin", pa.string(), "live, replay or archive."),
            _field("ingest_date", pa.date32(), "UTC day of kafka_timestamp."),
        ]
    ),
    key=("epoch", "kafka_topic", "kafka_partition", "kafka_offset"),
    order=("epoch", "kafka_partition", "kafka_offset"),
    day="ingest_date",
)

TRADE = Record(
    name="Trade",
    doc="One trade as the exchange reported it.",
    schema=pa.schema(
        [
            _field("exchange", pa.string(), "Venue and market, such as binance or binance_usdm."),
            _field("symbol", pa.string(), "Canonical symbol, BASE-QUOTE, such as BTC-USDT."),
            _field("exchange_symbol", pa.string(), "The symbol as the exchange writes it."),
            _field("asset_class", pa.string(), "crypto."),
            _field("trade_id", pa.string(), "The exchange's id of the trade."),
            _field(
                "source_sequence",
                pa.int64(),
                "Order of trades within a symbol: the numeric trade id, else the arrival order.",
            ),
            _field("timestamp", INSTANT, "Trade time as the exchange states it."),
            _field("event_time", INSTANT, "When the exchange sent the event.", nullable=True),
            _field("ingestion_timestamp", INSTANT, "When the frame was received."),
            _field("price", PRICE, "Quote currency per unit of base."),
            _field(
                "quantity", QUANTITY, "Units of base; contracts where the exchange counts in them."
            ),
            _field("currency", pa.string(), "The quote currency."),
            _field("side", pa.string(), "The taker's: buy or sell; unknown in archives without."),
            _field(
                "trade_conditions",
                pa.list_(pa.field("element", pa.string(), nullable=False)),
                "The exchange's flags, such as INSURANCE_FUND; null for a regular trade.",
                nullable=True,
            ),
            _field(
                "vendor_data",
                pa.map_(pa.string(), pa.string()),
                "What else the exchange said, as text; null where nothing.",
                nullable=True,
            ),
            _field("candle_eligible", pa.bool_(), "Whether the exchange counts it in candles."),
            _field("trade_count", pa.int64(), "Raw trades in an aggregated one, else 1."),
            *_COORDINATES,
            _field("frame_index", pa.int32(), "Position of the trade within its frame."),
            _field("trade_date", pa.date32(), "UTC day of timestamp."),
            _field("ingest_date", pa.date32(), "UTC day of arrival in Kafka."),
        ]
    ),
    key=("exchange", "symbol", "trade_id"),
    order=("symbol", "timestamp", "source_sequence"),
    day="trade_date",
    partition=("exchange",),
)

QUOTE = Record(
    name="Quote",
    doc="The best bid and the best ask of an order book, as the exchange reported them.",
    schema=pa.schema(
        [
            _field("exchange", pa.string(), "Venue and market, such as binance or binance_usdm."),
            _field("symbol", pa.string(), "Canonical symbol, BASE-QUOTE, such as BTC-USDT."),
            _field("exchange_symbol", pa.string(), "The symbol as the exchange writes it."),
            _field("asset_class", pa.string(), "crypto."),
            _field("quote_id", pa.string(), "What tells this state of the book from any other."),
            _field(
                "source_sequence",
                pa.int64(),
                "Order of quotes within a symbol: the book's update id, else the time in us.",
            ),
            _field(
                "timestamp",
                INSTANT,
                "Time of the quote as the exchange states it, else when the frame was received.",
            ),
            _field("event_time", INSTANT, "When the exchange sent the event.", nullable=True),
            _field("ingestion_timestamp", INSTANT, "When the frame was received."),
            _field("bid_price", PRICE, "Highest price bid, in quote currency per unit of base."),
            _field("bid_quantity", QUANTITY, "Units bid at it; contracts where so counted."),
            _field("ask_price", PRICE, "Lowest price asked."),
            _field("ask_quantity", QUANTITY, "Units asked at it."),
            _field("currency", pa.string(), "The quote currency."),
            _field(
                "quote_conditions",
                pa.list_(pa.field("element", pa.string(), nullable=False)),
                "crossed: the bid is above the ask; locked: equal to it; null for a regular quote.",
                nullable=True,
            ),
            _field(
                "vendor_data",
                pa.map_(pa.string(), pa.string()),
                "What else the exchange said, as text; null where nothing.",
                nullable=True,
            ),
            *_COORDINATES,
            _field("frame_index", pa.int32(), "Position of the quote within its frame."),
            _field("quote_date", pa.date32(), "UTC day of timestamp."),
            _field("ingest_date", pa.date32(), "UTC day of arrival in Kafka."),
        ]
    ),
    key=("exchange", "symbol", "quote_id"),
    order=("symbol", "timestamp", "source_sequence"),
    day="quote_date",
    partition=("exchange",),
)

REJECTED = Record(
    name="Rejected",
    doc="A frame, or one row of a frame, that broke a rule: kept with reason and coordinates.",
    schema=pa.schema(
        [
            _field("exchange", pa.string(), "Venue and market."),
            _field("kind", pa.string(), "trades or quotes."),
            _field("reason", pa.string(), "The name of the rule that was broken."),
            _field("detail", pa.string(), "What was found."),
            *_COORDINATES,
            _field("frame_index", pa.int32(), "The row within the frame; -1 for the whole frame."),
            _field("received_at", INSTANT, "When the frame was received."),
            _field("payload", pa.binary(), "The frame's bytes."),
            _field("ingest_date", pa.date32(), "UTC day of arrival in Kafka."),
        ]
    ),
    key=("exchange", "kind", "epoch", "kafka_partition", "kafka_offset", "frame_index"),
    order=("epoch", "kafka_partition", "kafka_offset", "frame_index"),
    day="ingest_date",
    partition=("exchange", "kind"),
)

GAP = Record(
    name="Gap",
    doc="Consecutive trade ids that are, or once were, missing in gold.trades.",
    schema=pa.schema(
        [
            _field("exchange", pa.string(), "Venue and market."),
            _field("symbol", pa.string(), "Canonical symbol."),
            _field("first_missing_id", pa.int64(), "The first id that is missing."),
            _field("last_missing_id", pa.int64(), "The last id that is missing."),
            _field("missing", pa.int64(), "How many they are: raw trades."),
            _field("before_at", INSTANT, "Trade time of the neighbour before."),
            _field("after_at", INSTANT, "Trade time of the neighbour after."),
            _field(
                "cause",
                pa.string(),
                "disconnect, rotation, exchange (it sent none), loss (on our side), unrecorded "
                "(nobody listened: between recordings) or unknown.",
            ),
            _field("state", pa.string(), "open, repaired or unrepairable."),
            _field("reason", pa.string(), "Why it cannot be repaired.", nullable=True),
            _field("detected_at", INSTANT, "When the later of the neighbours was received."),
            _field(
                "repaired_at",
                INSTANT,
                "When the last of them was received after all.",
                nullable=True,
            ),
            _field("gap_date", pa.date32(), "UTC day of before_at."),
        ]
    ),
    key=("exchange", "symbol", "first_missing_id", "last_missing_id"),
    order=("symbol", "first_missing_id"),
    day="gap_date",
    partition=("exchange",),
)

CANDLE = Record(
    name="Candle",
    doc="Open, high, low, close and sums of the eligible trades of one window.",
    schema=pa.schema(
        [
            _field("exchange", pa.string(), "Venue and market."),
            _field("symbol", pa.string(), "Canonical symbol."),
            _field("window_start", INSTANT, "Start of the window, inclusive."),
            _field("window_end", INSTANT, "End of the window, exclusive."),
            _field("open", PRICE, "Price of the first trade by source_sequence."),
            _field("high", PRICE, "Highest price."),
            _field("low", PRICE, "Lowest price."),
            _field("close", PRICE, "Price of the last trade by source_sequence."),
            _field("volume", QUANTITY_SUM, "Sum of quantity."),
            _field(
                "quote_volume", QUOTE_SUM, "Sum of price x quantity: turnover, but for contracts."
            ),
            _field("taker_buy_volume", QUANTITY_SUM, "Sum of quantity where the taker bought."),
            _field("taker_buy_quote_volume", QUOTE_SUM, "Its price x quantity."),
            _field("vwap", PRICE, "quote_volume / volume, cut after eight decimals."),
            _field("trade_count", pa.int64(), "Raw trades."),
            _field("first_trade_id", pa.string(), "Id of the first trade."),
            _field("last_trade_id", pa.string(), "Id of the last trade."),
            _field("window_date", pa.date32(), "UTC day of window_start."),
        ]
    ),
    key=("exchange", "symbol", "window_start"),
    order=("symbol", "window_start"),
    day="window_date",
    partition=("exchange",),
)

INSTRUMENT = Record(
    name="Instrument",
    doc="The terms of an instrument as its exchange listed them, for as long as they held.",
    schema=pa.schema(
        [
            _field("exchange", pa.string(), "Venue and market."),
            _field("symbol", pa.string(), "Canonical symbol, BASE-QUOTE or BASE-QUOTE-CONTRACT."),
            _field("exchange_symbol", pa.string(), "The symbol in the exchange's streams."),
            _field(
                "names",
                pa.list_(pa.field("element", pa.string(), nullable=False)),
                "All names that the exchange has for it: XXBTZUSD, XBTUSD, XBT/USD, BTC/USD.",
            ),
            _field("base", pa.string(), "What is traded."),
            _field("quote", pa.string(), "What it is priced in."),
            _field("type", pa.string(), "spot, perpetual or future."),
            _field("tick_size", STEP, "The smallest step of a price, in quote currency."),
            _field("lot_size", STEP, "The smallest step of a quantity, in its own unit."),
            _field("min_notional", STEP, "The least worth of an order, in quote.", nullable=True),
            _field(
                "contract_size",
                STEP,
                "What a contract is worth in contract_currency; null where quantities are in base.",
                nullable=True,
            ),
            _field("contract_currency", pa.string(), "The currency of that worth.", nullable=True),
            _field("status", pa.string(), "trading, else the exchange's word, in lower case."),
            _field("valid_from", INSTANT, "When K2 first saw these terms, inclusive."),
            _field(
                "valid_to",
                INSTANT,
                "When it saw others, or none, exclusive; null while they hold.",
                nullable=True,
            ),
        ]
    ),
    key=("exchange", "symbol", "valid_from"),
    order=("symbol", "valid_from"),
    day="",
    partition=("exchange",),
)


def with_day(record: Record, day: str, partition: tuple[str, ...] = ()) -> Record:
    """The same record, partitioned by another of its days."""
    return Record(
        name=record.name,
        doc=record.doc,
        schema=record.schema,
        key=record.key,
        order=record.order,
        day=day,
        partition=partition,
    )
