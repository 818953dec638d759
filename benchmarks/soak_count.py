"""What a simulated exchange sent beside what bronze holds, trade id by trade id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from k2_feeds.adapters import adapter
from k2_lake.catalog import Lake
from k2_lake.tables import bronze_name
from k2_market.kinds import Kind

Ranges = Mapping[str, Sequence[Sequence[int]]]


@dataclass(frozen=True)
class Count:
    """Frames are trades here. ``made`` while nobody was connected were not ``sent``.

    ``missing`` were sent and are not in bronze, ``recovered`` are there though they were not sent.
    """

    made: int
    sent: int
    bronze_frames: int
    bronze_trades: int
    duplicates: int
    missing: int
    not_sent: int
    recovered: int


def count(lake: Lake, exchange: str, made: Ranges, sent: Ranges) -> Count:
    """Compare; the ranges are those of the simulator's ``/control``, by canonical symbol."""
    in_bronze = pl.concat([_EMPTY, *_in_bronze(lake, exchange)])
    distinct = in_bronze.unique()
    all_sent, all_made = _expanded(exchange, sent), _expanded(exchange, made)
    not_sent = all_made.join(all_sent, on=_ID, how="anti")
    return Count(
        made=all_made.height,
        sent=all_sent.height,
        bronze_frames=in_bronze.height,
        bronze_trades=distinct.height,
        duplicates=in_bronze.height - distinct.height,
        missing=all_sent.join(distinct, on=_ID, how="anti").height,
        not_sent=not_sent.height,
        recovered=not_sent.join(distinct, on=_ID, how="semi").height,
    )


_ID = ["symbol", "id"]
_EMPTY = pl.DataFrame(schema={"symbol": pl.String, "id": pl.Int64})


def _in_bronze(lake: Lake, exchange: str) -> Iterator[pl.DataFrame]:
    """Symbol and id of every trade, a frame of them for each batch of rows."""
    venue, parser = adapter(exchange), adapter(exchange).parsers[Kind.TRADES]
    scan = lake.table(bronze_name(exchange, Kind.TRADES)).scan(selected_fields=("payload",))
    for batch in scan.to_arrow_batch_reader():
        payloads = batch.column("payload").to_pylist()
        frames = [parser.decode(p) for p in payloads if venue.classify(p).channel == Kind.TRADES]
        if frames:
            columns = parser.columns(parser.rows(frames)[2])
            found = {"symbol": columns.exchange_symbol, "id": columns.source_sequence}
            yield pl.DataFrame(found, schema=_EMPTY.schema)


def _expanded(exchange: str, ranges: Ranges) -> pl.DataFrame:
    spelt = adapter(exchange).exchange_symbol
    parts = [
        pl.DataFrame({"id": pl.int_range(first, last + 1, eager=True)}).select(
            pl.lit(spelt(symbol)).alias("symbol"), pl.col("id").cast(pl.Int64)
        )
        for symbol, found in ranges.items()
        for first, last in found
    ]
    return pl.concat([_EMPTY, *parts]).unique()
