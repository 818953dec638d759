"""What the figures say of a market of a thousand symbols: the arithmetic, with every step shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from k2_lake.spark.written import ROWS_PER_FILE
from k2_market.exchanges import EXCHANGES
from k2_market.timeframes import TIMEFRAMES

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
MARK = "arithmetic"
SYMBOLS, TRADES = 1_000, 10_000_000_000
MINUTES = 24 * 60
# What a candle takes in the driver's memory, its texts included, and a file that is told of.
CANDLE_BYTES, TOLD_BYTES = 300, 700


@dataclass(frozen=True)
class Basis:
    """What the largest days on Spark gave: trades per second and core, and bytes per trade.

    ``trades`` and ``candles_of`` are the sizes of the days that gold and candles were made of.
    """

    trades: int
    candles_of: int
    gold: float
    minutes: float
    coarser: float
    trade_bytes: float
    rows_a_file: float

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Basis:
        """Of the JSON of a run."""
        return cls(**found["basis"])


def arithmetic(basis: Basis) -> str:
    """The table of the page: what such a day is made of and what computing it anew takes."""
    files = ceil(TRADES / basis.rows_a_file)
    candles = SYMBOLS * MINUTES
    hours = {
        "gold.trades": TRADES / basis.gold / 3600,
        "gold.ohlcv_1m": TRADES / basis.minutes / 3600,
        "the four coarser timeframes": TRADES / basis.coarser / 3600,
    }
    total = sum(hours.values())
    lines = [
        ("trades a second", f"{TRADES:,} / 86,400 s", f"{TRADES / 86_400:,.0f}"),
        (
            "size of gold.trades",
            f"{TRADES:,} x {basis.trade_bytes:.1f} bytes",
            f"{TRADES * basis.trade_bytes / 1e9:,.0f} GB a day",
        ),
        (
            "partitions of gold.trades",
            f"1 day x {len(EXCHANGES)} exchanges",
            f"{len(EXCHANGES)} a day",
        ),
        (
            "data files of gold.trades",
            f"{TRADES:,} / {basis.rows_a_file:,.0f} trades",
            f"{files:,} of {basis.rows_a_file * basis.trade_bytes / 1e6:,.0f} MB",
        ),
        (
            "files that a driver is told of",
            f"{files:,} x {TOLD_BYTES} bytes",
            f"{files * TOLD_BYTES / 1e6:,.0f} MB",
        ),
        ("1m candles", f"{SYMBOLS:,} x {MINUTES:,} minutes", f"{candles:,}"),
        (
            "candles in the driver",
            f"{candles:,} x {CANDLE_BYTES} bytes",
            f"{candles * CANDLE_BYTES / 1e6:,.0f} MB",
        ),
        (
            "commits of a day computed anew",
            f"gold.trades and {len(TIMEFRAMES)} timeframes, one each",
            f"{1 + len(TIMEFRAMES)}",
        ),
        *(
            (f"core hours, {name}", f"{TRADES:,} / {TRADES / h / 3600:,.0f} / 3,600", f"{h:,.1f}")
            for name, h in hours.items()
        ),
        ("core hours, all", " + ".join(f"{h:,.1f}" for h in hours.values()), f"{total:,.1f}"),
        ("cores for a day computed anew in an hour", f"{total:,.1f} / 1", f"{ceil(total):,}"),
        ("cores for one in the night's four hours", f"{total:,.1f} / 4", f"{ceil(total / 4):,}"),
    ]
    head = [
        f"| {SYMBOLS:,} symbols, {TRADES:,} trades a day | arithmetic | |",
        "| --- | --- | ---: |",
    ]
    return "\n".join([*head, *(f"| {a} | {b} | {c} |" for a, b, c in lines)])


def write(basis: Basis, page: Path = PAGE) -> None:
    """Put the table between its markers."""
    begin, end = f"<!-- {MARK} -->", f"<!-- end of {MARK} -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    told = (
        f"From Spark's gold of a day of {basis.trades:,} trades and its candles of one of "
        f"{basis.candles_of:,}; a file is meant to hold {ROWS_PER_FILE:,} trades."
    )
    body = f"{begin}\n\n{told}\n\n{arithmetic(basis)}\n\n{end}"
    page.write_text(f"{before}{body}{after}", encoding="utf-8")
