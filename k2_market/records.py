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


def field(name: str, dtype: pa.DataType, doc: str, *, nullable: bool = False) -> pa.Field[Any]:
    """A field with its meaning, which goes wherever the field goes."""
    return pa.field(name, dtype, nullable=nullable, metadata={"doc": doc})


_COORDINATES = [
    field("epoch", pa.int32(), "Life of the topic: a recreated topic or cluster begins a new one."),
    field("kafka_partition", pa.int32(), "Partition of the raw topic."),
    field("kafka_offset", pa.int64(), "Offset in the partition."),
]

# What trades and quotes have in common.
_INSTRUMENT = [
    field("exchange", pa.string(), "Venue and market, such as binance or binance_usdm."),
    field("symbol", pa.string(), "Canonical symbol, BASE-QUOTE, such as BTC-USDT."),
    field("exchange_symbol", pa.string(), "The symbol as the exchange writes it."),
    field("asset_class", pa.string(), "crypto."),
]
_SENT_AND_RECEIVED = [
    field("event_time", INSTANT, "When the exchange sent the event.", nullable=True),
    field("ingestion_timestamp", INSTANT, "When the frame was received."),
]
_VENDOR_DATA = field(
    "vendor_data",
    pa.map_(pa.string(), pa.string()),
    "What else the exchange said, as text; null where nothing.",
    nullable=True,
)

RAW_FRAME = Record(
    name="RawFrame",
    doc="A WebSocket frame (or archive row) exactly as it came, with its place in Kafka.",
    schema=pa.schema(
        [
            *_COORDINATES,
            field("kafka_timestamp", INSTANT, "The message's time in Kafka: its arrival."),
            field("kafka_topic", pa.string(), "The raw topic."),
            field("exchange_symbol", pa.string(), "The message key, where known.", nullable=True),
            field("payload", pa.binary(), "The exchange's bytes, untouched."),
            field("received_at", INSTANT, "When the frame was received from the exchange."),
            field("connection_id", pa.int64(), "The connection, or the archive file, it came by."),
            field("sequence", pa.int64(), "Counts the frames of a connection: a hole is a loss."),
            field("origin", pa.string(), "live, replay or archive."),
            field("ingest_date", pa.date32(), "UTC day of kafka_timestamp."),
        ]
    ),
    key=("epoch", "kafka_topic", "kafka_partition", "kafka_offset"),
    order=("epoch", "kafka_partition", "kafka_offset"),
    day="ingest_date",
)

# The id of an aggregated trade is this and the exchange's number: those of raw trades are others.
# It carries the last id that it stands for as source_sequence and their number as trade_count.
AGGREGATED = "agg:"

TRADE = Record(
    name="Trade",
    doc="One trade as the exchange reported it.",
    schema=pa.schema(
        [
            *_INSTRUMENT,
            field("trade_id", pa.string(), "The exchange's id of the trade."),
            field(
                "source_sequence",
                pa.int64(),
                "Order of trades within a symbol: the numeric trade id, else the arrival order.",
            ),
            field("timestamp", INSTANT, "Trade time as the exchange states it."),
            *_SENT_AND_RECEIVED,
            field("price", PRICE, "Quote currency per unit of base."),
            field(
                "quantity", QUANTITY, "Units of base; contracts where the exchange counts in them."
            ),
            field("currency", pa.string(), "The quote currency."),
            field("side", pa.string(), "The taker's: buy or sell; unknown in archives without."),
            field(
                "trade_conditions",
                pa.list_(pa.field("element", pa.string(), nullable=False)),
                "The exchange's flags, such as INSURANCE_FUND; null for a regular trade.",
                nullable=True,
            ),
            _VENDOR_DATA,
            field("candle_eligible", pa.bool_(), "Whether the exchange counts it in candles."),
            field("trade_count", pa.int64(), "Raw trades in an aggregated one, else 1."),
            *_COORDINATES,
            field("frame_index", pa.int32(), "Position of the trade within its frame."),
            field("trade_date", pa.date32(), "UTC day of timestamp."),
            field("ingest_date", pa.date32(), "UTC day of arrival in Kafka."),
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
            *_INSTRUMENT,
            field("quote_id", pa.string(), "What tells this state of the book from any other."),
            field(
                "source_sequence",
                pa.int64(),
                "Order of quotes within a symbol: the book's update id, else the time in us.",
            ),
            field(
                "timestamp",
                INSTANT,
                "Time of the quote as the exchange states it, else when the frame was received.",
            ),
            *_SENT_AND_RECEIVED,
            field("bid_price", PRICE, "Highest price bid, in quote currency per unit of base."),
            field("bid_quantity", QUANTITY, "Units bid at it; contracts where so counted."),
            field("ask_price", PRICE, "Lowest price asked."),
            field("ask_quantity", QUANTITY, "Units asked at it."),
            field("currency", pa.string(), "The quote currency."),
            field(
                "quote_conditions",
                pa.list_(pa.field("element", pa.string(), nullable=False)),
                "crossed: the bid is above the ask; locked: equal to it; null for a regular quote.",
                nullable=True,
            ),
            _VENDOR_DATA,
            *_COORDINATES,
            field("frame_index", pa.int32(), "Position of the quote within its frame."),
            field("quote_date", pa.date32(), "UTC day of timestamp."),
            field("ingest_date", pa.date32(), "UTC day of arrival in Kafka."),
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
            field("exchange", pa.string(), "Venue and market."),
            field("kind", pa.string(), "trades or quotes."),
            field("reason", pa.string(), "The name of the rule that was broken."),
            field("detail", pa.string(), "What was found."),
            *_COORDINATES,
            field("frame_index", pa.int32(), "The row within the frame; -1 for the whole frame."),
            field("received_at", INSTANT, "When the frame was received."),
            field("payload", pa.binary(), "The frame's bytes."),
            field("ingest_date", pa.date32(), "UTC day of arrival in Kafka."),
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
            field("exchange", pa.string(), "Venue and market."),
            field("symbol", pa.string(), "Canonical symbol."),
            field("first_missing_id", pa.int64(), "The first id that is missing."),
            field("last_missing_id", pa.int64(), "The last id that is missing."),
            field("missing", pa.int64(), "How many they are: raw trades."),
            field("before_at", INSTANT, "Trade time of the neighbour before."),
            field("after_at", INSTANT, "Trade time of the neighbour after."),
            field(
                "cause",
                pa.string(),
                "disconnect, rotation, exchange (it sent none), loss (on our side), unrecorded "
                "(nobody listened: between recordings) or unknown.",
            ),
            field("state", pa.string(), "open, repaired or unrepairable."),
            field("reason", pa.string(), "Why it cannot be repaired.", nullable=True),
            field("detected_at", INSTANT, "When the later of the neighbours was received."),
            field(
                "repaired_at",
                INSTANT,
                "When the last of them was received after all.",
                nullable=True,
            ),
            field("gap_date", pa.date32(), "UTC day of before_at."),
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
            field("exchange", pa.string(), "Venue and market."),
            field("symbol", pa.string(), "Canonical symbol."),
            field("window_start", INSTANT, "Start of the window, inclusive."),
            field("window_end", INSTANT, "End of the window, exclusive."),
            field("open", PRICE, "Price of the first trade by source_sequence."),
            field("high", PRICE, "Highest price."),
            field("low", PRICE, "Lowest price."),
            field("close", PRICE, "Price of the last trade by source_sequence."),
            field("volume", QUANTITY_SUM, "Sum of quantity."),
            field(
                "quote_volume", QUOTE_SUM, "Sum of price x quantity: turnover, but for contracts."
            ),
            field("taker_buy_volume", QUANTITY_SUM, "Sum of quantity where the taker bought."),
            field("taker_buy_quote_volume", QUOTE_SUM, "Its price x quantity."),
            field("vwap", PRICE, "quote_volume / volume, cut after eight decimals."),
            field("trade_count", pa.int64(), "Raw trades."),
            field("first_trade_id", pa.string(), "Id of the first trade."),
            field("last_trade_id", pa.string(), "Id of the last trade."),
            field("window_date", pa.date32(), "UTC day of window_start."),
        ]
    ),
    key=("exchange", "symbol", "window_start"),
    order=("symbol", "window_start"),
    day="window_date",
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
