"""A market to measure with: trades by index, the same every time, as rows and as frames.

Trade ``i`` of a day happens ``i`` steps after midnight and belongs to one of eight symbols whose
ids stand as far apart as on an exchange, so that ranges of ids of several symbols overlap nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import duckdb
import pyarrow as pa

from k2_feeds.kafka.frame import Frame
from k2_market.records import TRADE

EXCHANGE = "binance"

# Exchange symbol, canonical symbol, first trade id, price. Their keys (CRC32) fill the four
# partitions of an embedded topic evenly.
SYMBOLS = (
    ("BTCUSDT", "BTC-USDT", 3_735_693_016, 61685.99),
    ("DOTUSDT", "DOT-USDT", 280_120_411, 4.52),
    ("ETHUSDT", "ETH-USDT", 1_530_874_216, 2683.14),
    ("SOLUSDT", "SOL-USDT", 720_456_871, 161.37),
    ("ADAUSDT", "ADA-USDT", 410_987_655, 0.3471),
    ("TRXUSDT", "TRX-USDT", 190_342_876, 0.1281),
    ("DOGEUSDT", "DOGE-USDT", 640_098_112, 0.1074),
    ("BNBUSDT", "BNB-USDT", 815_422_967, 516.8),
)

_ROWS = """
with picked as (
  select i, hash(i) as h, symbols[cast(1 + hash(i) % 8 as bigint)] as s
  from range({first}, {first} + {count}) r(i), (select {symbols} as symbols)),
priced as (
  select *, make_timestamp({start} + i * {step_us})::timestamptz as happened,
    cast(s.price * (1 + (h >> 8) % 1000 / 100000.0) as decimal(18,8)) as price,
    cast(((h >> 20) % 500000 + 1) / 100000.0 as decimal(28,8)) as quantity
  from picked)
select '{exchange}' as exchange, s.name as symbol, s.wire as exchange_symbol,
  'crypto' as asset_class, cast(s.id + i as varchar) as trade_id, s.id + i as source_sequence,
  happened as timestamp, happened as event_time,
  happened + interval 5 milliseconds as ingestion_timestamp,
  price, quantity, 'USDT' as currency,
  case when (h >> 40) % 2 = 0 then 'buy' else 'sell' end as side,
  null as trade_conditions, null as vendor_data, true as candle_eligible, 1 as trade_count,
  0 as epoch, 0 as kafka_partition, i as kafka_offset, 0 as frame_index,
  date '{day}' as trade_date, date '{arrived}' as ingest_date
from priced order by i
"""

# Binance spot API, "WebSocket Streams", Trade Streams, in a combined stream.
_PAYLOADS = """
select exchange_symbol as key, epoch_us(ingestion_timestamp) as received_us,
  '{"stream":"' || lower(exchange_symbol) || '@trade","data":{"e":"trade","E":'
  || epoch_ms(timestamp) || ',"s":"' || exchange_symbol || '","t":' || trade_id
  || ',"p":"' || price || '","q":"' || quantity || '","T":' || epoch_ms(timestamp)
  || ',"m":' || case when side = 'sell' then 'true' else 'false' end || ',"M":true}}' as payload
from trades order by kafka_offset
"""


@dataclass(frozen=True)
class Market:
    """The trades of one UTC day, ``step_us`` microseconds apart."""

    day: date
    step_us: int = 16_000

    def trades(self, first: int, count: int, arrived: date) -> pa.Table:
        """The trades ``first`` to ``first + count`` in the columns of TRADE, in order of time."""
        symbols = ", ".join(
            f"{{'wire': '{wire}', 'name': '{name}', 'id': {id_}::bigint, 'price': {price}::double}}"
            for wire, name, id_, price in SYMBOLS
        )
        start = datetime.combine(self.day, time.min, tzinfo=UTC)
        sql = _ROWS.format(
            first=first,
            count=count,
            symbols=f"[{symbols}]",
            start=int(start.timestamp()) * 1_000_000,
            step_us=self.step_us,
            exchange=EXCHANGE,
            day=self.day.isoformat(),
            arrived=arrived.isoformat(),
        )
        return _arrow(sql, {}).select(TRADE.columns).cast(TRADE.schema)

    def frames(self, first: int, count: int) -> list[tuple[Frame, str]]:
        """The frames that bring those trades, each with its key; about 165 bytes of payload."""
        rows = _arrow(_PAYLOADS, {"trades": self.trades(first, count, self.day)}).to_pydict()
        found = zip(rows["payload"], rows["received_us"], rows["key"], strict=True)
        return [
            (Frame(payload.encode(), received_us, 1, first + i), key)
            for i, (payload, received_us, key) in enumerate(found)
        ]


def _arrow(sql: str, inputs: dict[str, pa.Table]) -> pa.Table:
    with duckdb.connect(":memory:") as connection:
        connection.execute("set timezone = 'UTC'")
        for name, table in inputs.items():
            connection.register(name, table)
        return connection.sql(sql).to_arrow_table()
