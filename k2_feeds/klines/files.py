"""Files of Binance's klines, as Binance Public Data publishes them: plain, gzipped or zipped.

A file tells its timeframe itself, by its windows' length. Files of futures have a header line,
those of spot have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

from k2_feeds.archives.files import Content, contents
from k2_feeds.klines.binance import kline, micros
from k2_market.errors import UsageError
from k2_market.klines import Kline, Published
from k2_market.timeframes import TIMEFRAMES, Timeframe

_HEADER = b"open_time"
_CLOSE_TIME = 6


@dataclass(frozen=True)
class KlineFile:
    """The klines of a file and their timeframe."""

    frame: Timeframe
    published: Published


def read_files(paths: Iterable[Path], exchange: str) -> list[KlineFile]:
    """What the files hold, each on its own: its windows reach from its first to its last kline.

    Raises UsageError where a file is damaged, is of another exchange's, or has a line that is no
    kline of a timeframe that K2 has.
    """
    if not exchange.startswith("binance"):
        raise UsageError(
            f"files of candles are read for Binance alone, not for {exchange}. "
            "Leave the files out: then the exchange is asked."
        )
    in_contracts = exchange == "binance_coinm"
    return [
        _read(content, in_contracts=in_contracts) for path in paths for content in contents(path)
    ]


def _read(content: Content, *, in_contracts: bool) -> KlineFile:
    klines: dict[int, Kline] = {}
    lengths: set[timedelta] = set()
    for number, values in _lines(content):
        try:
            found = kline(values, in_contracts=in_contracts)
        except ValueError as error:
            raise _not_kline(content, number, str(error)) from None
        length = micros(int(values[_CLOSE_TIME])) - micros(int(values[0]))
        # The close time is the window's last millisecond, or microsecond.
        lengths.add(timedelta(seconds=-(-length // 1_000_000)))
        klines[int(values[0])] = found
    if not klines:
        raise UsageError(f"{content.name} has no klines.")
    frame = _timeframe(content, lengths)
    starts = sorted(k.window_start for k in klines.values())
    ordered = sorted(klines.values(), key=lambda k: k.window_start)
    return KlineFile(frame, Published(ordered, starts[0], starts[-1] + frame.length, content.name))


def _lines(content: Content) -> Iterator[tuple[int, list[Decimal]]]:
    for number, line in enumerate(content.lines(), 1):
        if not line.strip() or (number == 1 and line.lstrip(b'"').startswith(_HEADER)):
            continue
        try:
            yield number, [Decimal(cell) for cell in line.decode().strip().split(",")]
        except (UnicodeDecodeError, InvalidOperation):
            raise _not_kline(content, number, repr(line[:80])) from None


def _timeframe(content: Content, lengths: set[timedelta]) -> Timeframe:
    for frame in TIMEFRAMES.values():
        if lengths == {frame.length}:
            return frame
    told = ", ".join(sorted(map(str, lengths)))
    raise UsageError(
        f"{content.name} has windows of {told}. K2's timeframes are {', '.join(TIMEFRAMES)}, "
        "and a file has one of them."
    )


def _not_kline(content: Content, number: int, found: str) -> UsageError:
    return UsageError(f"{content.name}, line {number} is no kline of Binance: {found}.")
