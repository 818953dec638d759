"""The formats of archives, told by the exchange and the first line of a file.

To add one, say what its columns are called, in which order they come where the file has no header,
and how they become the columns of trades or of quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from k2_feeds.adapter import Columns
from k2_feeds.archives import binance, coinbase, k2, kraken
from k2_feeds.archives.cells import Cells, split_csv, split_json, split_object
from k2_feeds.archives.kraken_pairs import split_name
from k2_market.errors import UsageError
from k2_market.kinds import Kind

# Columns that K2 adds behind those of a file whose trades have no ids; see ``archive``.
POSITION, REPEAT = "k2_position", "k2_repeat"


@dataclass(frozen=True)
class Layout:
    """One format. ``headerless``: the columns, by exchange, of files without a header line.

    ``required`` are the columns that are read: a header must have them, and gives their order.
    ``numbered_by``: the column of time of a format whose trades have no ids. ``pair`` reads the
    symbol that a file's name, or a document, gives.
    """

    name: str
    read: Callable[[Cells], Columns]
    required: frozenset[str]
    headerless: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split: Callable[[bytes], list[str]] = split_csv
    counted: str = "line"
    numbered_by: str | None = None
    pair: Callable[[str], str] = str
    kind: Kind = Kind.TRADES

    def can_read(self, columns: Sequence[str]) -> bool:
        """Whether rows with these columns have all that is read, the symbol apart."""
        added = {POSITION, REPEAT} if self.numbered_by else set()
        return self.required | added <= set(columns)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_TRADES = _names("id price qty quote_qty time is_buyer_maker")
_AGGREGATED = _names(
    "agg_trade_id price quantity first_trade_id last_trade_id transact_time is_buyer_maker"
)
_BOOK_TICKER = _names(
    "update_id best_bid_price best_bid_qty best_ask_price best_ask_qty transaction_time event_time"
)
_FUTURES = ("binance_usdm", "binance_coinm")

# Spot dumps have one column more than those of futures, so the exchange tells what seven mean.
BINANCE_TRADES = Layout(
    "binance.trades",
    binance.trades,
    frozenset(_names("id price qty time is_buyer_maker")),
    {"binance": (*_TRADES, "is_best_match"), **dict.fromkeys(_FUTURES, _TRADES)},
)
BINANCE_AGGREGATED = Layout(
    "binance.agg_trades",
    binance.aggregated,
    frozenset(_AGGREGATED),
    {"binance": (*_AGGREGATED, "is_best_match"), **dict.fromkeys(_FUTURES, _AGGREGATED)},
)
KRAKEN_TIME_AND_SALES = Layout(
    "kraken.time_and_sales",
    kraken.time_and_sales,
    frozenset(_names("timestamp price volume")),
    {"kraken": _names("timestamp price volume")},
    numbered_by="timestamp",
    pair=split_name,
)
KRAKEN_REST = Layout(
    "kraken.rest_trades",
    kraken.rest,
    frozenset(_names("price volume time side ordertype trade_id")),
    {"kraken": _names("price volume time side ordertype misc trade_id")},
    split=split_json,
    counted="trade",
    pair=split_name,
)
BINANCE_BOOK_TICKER = Layout(
    "binance.book_ticker",
    binance.book_ticker,
    frozenset(_BOOK_TICKER),
    dict.fromkeys(_FUTURES, _BOOK_TICKER),
    kind=Kind.QUOTES,
)
K2_TRADES = Layout("k2.trades", k2.trades, frozenset(k2.COLUMNS))
K2_QUOTES = Layout("k2.quotes", k2.quotes, frozenset(k2.QUOTE_COLUMNS), kind=Kind.QUOTES)

# What the exchanges' REST histories answer, one object a trade; no file looks like these.
BINANCE_HISTORY = Layout(
    "binance.history",
    binance.trades,
    frozenset(_names("id price qty time is_buyer_maker")),
    split=split_object,
    counted="trade",
)
BINANCE_AGGREGATED_HISTORY = Layout(
    "binance.agg_history",
    binance.aggregated,
    frozenset(_AGGREGATED),
    split=split_object,
    counted="trade",
)
COINBASE_HISTORY = Layout(
    "coinbase.history",
    coinbase.rest,
    frozenset(_names("trade_id price size time side")),
    split=split_object,
    counted="trade",
)
HISTORIES: dict[str, Layout] = {
    layout.name: layout
    for layout in (BINANCE_HISTORY, BINANCE_AGGREGATED_HISTORY, COINBASE_HISTORY)
}

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        BINANCE_TRADES,
        BINANCE_AGGREGATED,
        KRAKEN_TIME_AND_SALES,
        KRAKEN_REST,
        K2_TRADES,
        BINANCE_BOOK_TICKER,
        K2_QUOTES,
    )
}


def recognise(
    exchange: str, kind: Kind, first_line: bytes, name: str
) -> tuple[Layout, tuple[str, ...], bool]:
    """Layout, columns and whether the first line is a header; ``name`` is for the error.

    Raises UsageError for a line that begins no format of this exchange and kind.
    """
    layouts = [
        y
        for y in LAYOUTS.values()
        if y.kind is kind and (not y.headerless or exchange in y.headerless)
    ]
    if first_line.lstrip()[:1] == b"{" and KRAKEN_REST in layouts:
        return KRAKEN_REST, KRAKEN_REST.headerless[exchange], False
    try:
        cells = [cell.strip().lower() for cell in split_csv(first_line.strip(b"\xef\xbb\xbf\r\n"))]
    except ValueError:
        cells = []
    for layout in layouts:
        if layout.split is not split_csv:
            continue
        if layout.required <= set(cells) and len(set(cells)) == len(cells):
            return layout, tuple(cells), True
        columns = layout.headerless.get(exchange, ())
        if cells and cells[0][:1].isdigit() and len(cells) == len(columns):
            return layout, columns, False
    known = ", ".join(layout.name for layout in layouts)
    raise UsageError(
        f"archive {name!r} begins with {first_line[:80]!r}, which is none of the formats known of "
        f"{kind} of {exchange} ({known}). Is it of another exchange or kind?"
    )
