"""What ``k2 query`` does: the question from the options, and the rows in the form asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from k2_cli.output import cell, print_cells
from k2_cli.query import Form, What
from k2_cli.show import STANDARD_ERROR
from k2_client import K2, Count, Query
from k2_client.rows import Row
from k2_client.streams import write_whole
from k2_market.errors import UsageError

SHOWN_ROWS = 50

_RANGE = {"symbol", "exchange", "start", "end"}
_OPTIONS = {"limit", "order", "fields", "as_of"}
_TAKES: dict[What, set[str]] = {
    What.TRADES: _RANGE | _OPTIONS,
    What.QUOTES: _RANGE | _OPTIONS,
    What.OHLCV: _RANGE | _OPTIONS | {"timeframe", "fill", "tz", "consolidated"},
    What.GAPS: _RANGE | _OPTIONS,
    What.CONDITION: _RANGE | _OPTIONS,
    What.RECONCILIATION: _RANGE | _OPTIONS | {"timeframe"},
    What.REJECTED: _RANGE - {"symbol"} | _OPTIONS,
    What.INSTRUMENTS: {"symbol", "exchange"} | _OPTIONS,
    What.SYMBOLS: {"exchange", "as_of"},
    What.LIVE: {"symbol", "exchange", "start", "limit"},
}
_INSTRUMENT = ("exchange", "symbol")
# The columns that fit a screen.
_MAIN: dict[What, tuple[str, ...]] = {
    What.TRADES: (*_INSTRUMENT, "timestamp", "side", "price", "quantity", "trade_id"),
    What.QUOTES: (
        *(*_INSTRUMENT, "timestamp"),
        *("bid_price", "bid_quantity", "ask_price", "ask_quantity"),
    ),
    What.OHLCV: (
        *(*_INSTRUMENT, "window_start", "open", "high", "low", "close"),
        *("volume", "trade_count", "final"),
    ),
    What.GAPS: (
        *(*_INSTRUMENT, "before_at", "first_missing_id", "last_missing_id"),
        *("missing", "cause", "state"),
    ),
    What.CONDITION: (*_INSTRUMENT, "kind", "day", "condition", "rows", "reasons"),
    What.RECONCILIATION: (*_INSTRUMENT, "timeframe", "window_start", "outcome", "differing"),
    What.REJECTED: ("exchange", "kind", "received_at", "reason", "detail"),
    What.INSTRUMENTS: (*_INSTRUMENT, "type", "tick_size", "lot_size", "status", "valid_from"),
}


def asked(k2: K2, what: What, said: Mapping[str, Any]) -> Query[Any]:
    """The question. Raises UsageError for an option that it does not take."""
    _require_taken(what, said)
    method: Callable[..., Query[Any]] = getattr(k2, what)
    return method(**{name: value for name, value in said.items() if value is not None})


def show(k2: K2, what: What, said: Mapping[str, Any], form: Form, out: Path | None) -> None:
    """The rows, as a table or in a file. Raises UsageError, ClientError."""
    if what is What.SYMBOLS or form is Form.TABLE:
        if out is not None:
            raise UsageError(f"{what} as a table is for reading: leave --out out.")
        _show_table(k2, what, said)
        return
    if out is None and form in (Form.PARQUET, Form.ARROW) and sys.stdout.isatty():
        raise UsageError(f"{form} is not for a terminal. Name a file with --out.")
    query = asked(k2, what, said)
    if out is not None:
        with _progress(query, form, said["limit"] is None) as seen:
            write_whole(out, _bytes(query, form), seen)
        return
    with _bytes(query, form) as chunks:
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def show_count(count: Count) -> None:
    """How much it would be."""
    typer.echo(f"{count.rows:,} rows")
    for name, size in count.bytes.items():
        typer.echo(f"about {size / 1e6:,.1f} MB as {name}")


def follow(k2: K2, said: Mapping[str, Any], channel: str, form: Form) -> None:
    """Rows as they come, a line each, until there are as many as asked for.

    Raises UsageError, ClientError.
    """
    _require_taken(What.LIVE, said)
    symbol, exchange = said["symbol"], said["exchange"]
    if symbol is None or exchange is None:
        raise UsageError("live: say which with --symbol and --exchange.")
    updates = k2.live(symbol, exchange, channel, start=said["start"])
    rows = ((update.channel, row) for update in updates for row in update.rows)
    for of, row in islice(rows, said["limit"]):
        typer.echo(_line(of, row) if form is Form.TABLE else msgspec.json.encode(row).decode())


def _require_taken(what: What, said: Mapping[str, Any]) -> None:
    foreign = [n for n, value in said.items() if value is not None and n not in _TAKES[what]]
    if foreign:
        name = foreign[0].replace("_", "-")
        raise UsageError(f"--{name} is not for {what}. Leave it out.")


def _show_table(k2: K2, what: What, said: Mapping[str, Any]) -> None:
    if what is What.SYMBOLS:
        _require_taken(what, said)
        rows: Sequence[Row] = k2.symbols(said["exchange"], as_of=said["as_of"])
    else:
        newest = {**said, "limit": said["limit"] or SHOWN_ROWS, "order": said["order"] or "desc"}
        rows = asked(k2, what, newest).to_list()
    names = said["fields"] or _MAIN.get(what) or (rows[0].__struct_fields__ if rows else ())
    cells = [[getattr(row, name) for name in names] for row in rows]
    numbers = {
        name: any(isinstance(row[i], int | Decimal) for row in cells)
        for i, name in enumerate(names)
    }
    total = f"{len(rows):,} row{'' if len(rows) == 1 else 's'}"
    print_cells(numbers, [list(map(cell, row)) for row in cells], total, sys.stdout)


def _line(channel: str, row: Row) -> str:
    of = What.OHLCV if channel.startswith("ohlcv") else What(channel)
    return "  ".join(cell(getattr(row, name)) for name in _MAIN[of])


@contextmanager
def _bytes(query: Query[Any], form: Form) -> Iterator[Iterator[bytes]]:
    with query.stream(Form.NDJSON if form is Form.JSON else form) as chunks:
        yield _as_array(chunks) if form is Form.JSON else chunks


def _as_array(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of objects as one array, an object a line."""
    before, rest = b"[\n", b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield before + b",\n".join(lines)
            before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


@contextmanager
def _progress(query: Query[Any], form: Form, whole: bool) -> Iterator[Callable[[int], None]]:
    """Tells a person at a terminal how far it is; of a whole range also of how much."""
    if not STANDARD_ERROR.is_terminal:
        yield lambda _: None
        return
    name = Form.NDJSON if form is Form.JSON else form
    total = query.count().bytes.get(name) if whole else None
    columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=STANDARD_ERROR, transient=True) as progress:
        task = progress.add_task("reading", total=total)
        yield lambda size: progress.advance(task, size)
