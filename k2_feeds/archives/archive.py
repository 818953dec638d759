"""A file of trades as frames of the raw topic, with origin ``archive``; see ``envelope``.

Files of any size pass in lists of BATCH rows. The connection is the file's content, so it is the
same whatever the file is called; the sequence is the number of the row's line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from k2_feeds.adapters import adapter
from k2_feeds.archives.cells import split_csv
from k2_feeds.archives.envelope import Head, encode_head
from k2_feeds.archives.files import Content, contents
from k2_feeds.archives.kraken_rest import rest_rows
from k2_feeds.archives.layouts import KRAKEN_REST, POSITION, REPEAT, Layout, recognise
from k2_feeds.kafka.frame import Frame
from k2_market.errors import UsageError
from k2_market.instruments import canonical_symbol
from k2_market.kinds import Kind

BATCH = 10_000

Keyed = tuple[Frame, str | None]


@dataclass(frozen=True)
class Archive:
    """A recognised file. ``symbol`` is the exchange's spelling, "" where rows have their own."""

    exchange: str
    content: Content
    layout: Layout
    columns: tuple[str, ...]
    symbol: str
    has_header: bool

    def batches(self, received_at_us: int) -> Iterator[tuple[list[Keyed], int]]:
        """Frames with their keys, and the bytes of the file that they took, list by list.

        ``received_at_us`` (microseconds since 1970 UTC) is the time of loading. Raises UsageError
        where the file cannot be read on.
        """
        rows = self._rows()
        while batch := list(islice(rows, BATCH)):
            frames: list[Keyed] = [
                (Frame(payload, received_at_us, self.content.digest, number), key)
                for number, payload, key, _ in batch
            ]
            yield frames, sum(size for *_, size in batch)

    def _rows(self) -> Iterator[tuple[int, bytes, str | None, int]]:
        if self.layout is KRAKEN_REST:
            return self._documents()
        return self._numbered() if self.layout.numbered_by else self._lines()

    def _lines(self) -> Iterator[tuple[int, bytes, str | None, int]]:
        head, key = self._head(self.symbol, self.columns), self.symbol or None
        named = None if key else self.columns.index("symbol")
        for number, line in enumerate(self.content.lines(), start=1):
            row = line.rstrip(b"\r\n")
            if row and not (number == 1 and self.has_header):
                yield number, head + row, key or _cell(row, named), len(line)

    def _numbered(self) -> Iterator[tuple[int, bytes, str | None, int]]:
        """Rows without ids: their place within their time, and how many equal ones came before.

        Both need the rows in order of time; a step back raises UsageError.
        """
        head = self._head(self.symbol, (*self.columns, POSITION, REPEAT))
        time, seen, place = b"", dict[bytes, int](), 0
        column = self.columns.index(self.layout.numbered_by or "")
        for number, line in enumerate(self.content.lines(), start=1):
            row = line.rstrip(b"\r\n")
            if not row or (number == 1 and self.has_header):
                continue
            cells = row.split(b",")
            at = cells[column] if column < len(cells) else b""
            if at != time:
                self._require_order(time, at, number)
                time, seen, place = at, {}, 0
            repeat = seen[row] = seen.get(row, -1) + 1
            yield number, b"%s%s,%d,%d" % (head, row, place, repeat), self.symbol, len(line)
            place += 1

    def _require_order(self, before: bytes, after: bytes, number: int) -> None:
        numbers = [float(t) for t in (before, after) if t.replace(b".", b"", 1).isdigit()]
        if len(numbers) == 2 and numbers[1] < numbers[0]:
            raise UsageError(
                f"line {number} of archive {self.content.name!r} is of {after.decode()}, the line "
                f"before it of {before.decode()}: trades without ids can only be told apart in "
                f"order of time. Sort it: `sort -s -n -t, -k1,1 {self.content.name}`."
            )

    def _documents(self) -> Iterator[tuple[int, bytes, str | None, int]]:
        for number, (pair, row, size) in enumerate(rest_rows(self.content), start=1):
            symbol = self.symbol or _spelled(self.exchange, self.layout.pair(pair))
            yield number, self._head(symbol, self.columns) + row, symbol or None, size

    def _head(self, symbol: str, columns: tuple[str, ...]) -> bytes:
        return encode_head(Head(self.layout.name, self.content.name, symbol, columns))


def open_archives(
    exchange: str, kind: Kind, path: Path, symbol: str | None = None
) -> list[Archive]:
    """The archives in a file, verified and recognised: one, or those of a zip.

    ``symbol`` (canonical or the exchange's) goes before what name and rows say. Raises UsageError
    for a file that is damaged, of no known format, or whose symbol nobody says, and UnknownName.
    """
    adapter(exchange)
    return [_recognised(exchange, kind, content, symbol) for content in contents(path)]


def _recognised(exchange: str, kind: Kind, content: Content, symbol: str | None) -> Archive:
    first = next(content.lines())
    layout, columns, has_header = recognise(exchange, kind, first, content.name)
    spelled = _spelled(exchange, layout.pair(symbol or ""))
    if symbol and not spelled:
        raise UsageError(f"symbol {symbol!r} cannot be read. Write it like BTC-USDT.")
    if not spelled and "symbol" not in columns and layout is not KRAKEN_REST:
        named = content.name.partition("-")[0].partition(".")[0]
        spelled = _spelled(exchange, layout.pair(named))
        if not spelled:
            raise UsageError(
                f"the name of archive {content.name!r} begins with no symbol of known currencies. "
                "Say which it is: --symbol BTC-USDT."
            )
    return Archive(exchange, content, layout, columns, spelled, has_header)


def _spelled(exchange: str, symbol: str) -> str:
    """The spelling of the exchange's live feed, so that keys and partitions agree; "" if none."""
    canonical = canonical_symbol(symbol) if symbol else None
    return "" if canonical is None else adapter(exchange).exchange_symbol(canonical)


def _cell(row: bytes, index: int | None) -> str | None:
    try:
        cells = split_csv(row)
    except ValueError:
        return None
    return cells[index] if index is not None and index < len(cells) else None
