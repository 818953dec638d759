"""Stored candles with others in the place of those that do not hold any more.

Trades that came since make windows anew; whoever knows of them tells the windows and their candles,
and every question is answered with those in the place of the stored ones: also what is derived.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa
from pyiceberg.table import Table

from k2_api.answers.row_text import json_texts
from k2_api.tail.freshness import Freshness
from k2_lake.engine import Input
from k2_lake.scan import Files
from k2_market.records import CANDLE, TRADE

# Exchange, symbol and the start of the window in microseconds.
Key = tuple[str, str, int]

# When which trade was.
TIMES = pa.schema(
    [TRADE.schema.field(name) for name in ("exchange", "symbol", "trade_id", "timestamp")]
)

_KEY = pa.schema([CANDLE.schema.field(name) for name in CANDLE.key])
_COLUMNS = ", ".join(CANDLE.columns)
_KEYS = ", ".join(CANDLE.key)


@dataclass(frozen=True)
class Replacement:
    """Of one instrument: the starts of the windows that do not hold, and the rows they have now."""

    starts: set[int] = field(default_factory=set)
    rows: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Newer:
    """Of one stored timeframe: ``keys`` of windows that do not hold, and the candles they have now.

    ``unsettled`` are days whose candles are about to be computed anew: none of them is final.
    ``times`` says when trades were that the table of trades may lack.
    """

    keys: pa.Table = field(default_factory=_KEY.empty_table)
    rows: pa.Table = field(default_factory=CANDLE.schema.empty_table)
    unsettled: frozenset[date] = frozenset()
    times: pa.Table = field(default_factory=TIMES.empty_table)

    def __bool__(self) -> bool:
        return bool(self.keys.num_rows)

    def source(self) -> str:
        """The SQL of the candles as they are now, over the stored ones in ``{rows}``."""
        if not self:
            return "{rows}"
        return (
            f"(select {_COLUMNS} from {{rows}} anti join {{newer_keys}} using ({_KEYS}) "
            f"union all by name select {_COLUMNS} from {{newer_rows}})"
        )

    def inputs(self, files: Files) -> dict[str, Input]:
        """What the names in ``source`` stand for."""
        found: dict[str, Input] = {"rows": files}
        if self:
            found |= {"newer_keys": self.keys, "newer_rows": self.rows}
        return found

    def trades(self, symbol: str) -> bool:
        """Whether there is a candle of that symbol."""
        return symbol in self.rows["symbol"].unique().to_pylist()

    @cached_property
    def newest(self) -> Mapping[str, int]:
        """When the newest window of each exchange begins, in microseconds."""
        of = self.rows.group_by("exchange").aggregate([("window_start", "max")])
        starts: list[Any] = of["window_start_max"].cast(pa.int64()).to_pylist()
        names: list[Any] = of["exchange"].to_pylist()
        return dict(zip(names, starts, strict=True))

    @cached_property
    def texts(self) -> Mapping[tuple[str, str], Replacement]:
        """By exchange and symbol, what stands in the place of the texts of stored candles."""
        final = pa.array([False] * self.rows.num_rows, pa.bool_())
        made = json_texts(self.rows.append_column("final", final))
        found: defaultdict[tuple[str, str], Replacement] = defaultdict(Replacement)
        for exchange, symbol, start in keys_of(self.keys):
            found[exchange, symbol].starts.add(start)
        for (exchange, symbol, start), text in zip(keys_of(self.rows), made, strict=True):
            found[exchange, symbol].rows[start] = text
        return dict(found)


NOTHING_NEWER = Newer()


class NewerCandles(Protocol):
    """Knows what stored candles of a timeframe, in a state of their table, do not tell yet."""

    def of(self, timeframe: str, table: Table | None) -> Newer:
        """It is made where it has to be, which may take a while. Raises LakeUnavailable."""
        ...

    def freshness(self, timeframe: str, exchanges: Iterable[str]) -> Freshness:
        """How fresh answers of the newest state are, for these exchanges or, if none, all."""
        ...

    def at_hand(self, timeframe: str, table: Table | None) -> Newer | None:
        """The same at once, None where it would have to be made."""
        ...


def keys_of(rows: pa.Table) -> list[Key]:
    """The keys of the candles, in their order."""
    columns: list[list[Any]] = [
        rows["exchange"].to_pylist(),
        rows["symbol"].to_pylist(),
        rows["window_start"].cast(pa.int64()).to_pylist(),
    ]
    return list(zip(*columns, strict=True))
