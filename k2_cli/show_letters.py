"""How dead letters are written: as JSON, or for reading, and then nothing of them goes out raw."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from k2_cli.letters import Letter

if TYPE_CHECKING:
    from k2_cli.redelivery import Redelivery

_HEX_SHOWN = 4096  # bytes
_TEXT_SHOWN = 20_000  # characters
_WIDTH = 16
_COUNTS = ("exchange", "kind", "reason", "letters", "first_day", "last_day")
_NEWEST = ("letter", "received_at", "reason", "detail")


def write_list(
    counts: Sequence[Mapping[str, Any]], newest: Sequence[Letter], *, as_json: bool
) -> None:
    """Counts by reason, then the newest letters, one line each."""
    told = [letter.told() for letter in newest]
    if as_json:
        _write_json({"counts": counts, "newest": told})
        return
    console = _console()
    if not counts:
        console.print("no dead letters")
        return
    _print_table(console, _COUNTS, counts)
    if told:
        _print_table(console, _NEWEST, told)
    total = sum(count["letters"] for count in counts)
    console.print(f"{len(told):,} of {total:,} shown; `k2 dlq show NAME` shows one with its bytes")


def write_letters(letters: Sequence[Letter], *, as_json: bool) -> None:
    """Everything of each letter, its bytes as text and in hex."""
    if as_json:
        _write_json(
            [
                {**letter.told(), "text": letter.payload.decode(errors="backslashreplace")}
                | {"hex": letter.payload.hex()}
                for letter in letters
            ]
        )
        return
    console = _console()
    for letter in letters:
        for name, value in letter.told().items():
            console.print(f"{name:<12} {printable(str(value))}", soft_wrap=True)
        console.print(text_of(letter.payload), soft_wrap=True)
        for line in hex_lines(letter.payload):
            console.print(line, soft_wrap=True)
        console.print()


def write_replayed(done: Redelivery) -> None:
    """What became of the letters, and what follows."""
    console = _console()
    if not done.lines:
        console.print("no dead letters")
        return
    table = Table(show_header=False, title="Dead letters")
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, figure in done.lines:
        table.add_row(printable(name), printable(figure))
    console.print(table)
    for sentence in done.sentences:
        console.print(sentence, soft_wrap=True)


def text_of(payload: bytes) -> str:
    """The bytes as text that a terminal shows as it is: all that is not printable is escaped."""
    text = printable(payload[:_TEXT_SHOWN].decode(errors="backslashreplace"))
    more = f"... ({len(payload):,} bytes)" if len(payload) > _TEXT_SHOWN else ""
    return text + more


def printable(text: str) -> str:
    """The text with control, format and other characters that are not printable escaped."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def hex_lines(payload: bytes) -> Iterator[str]:
    """The bytes sixteen a line, with their offset and the printable ones beside."""
    for start in range(0, min(len(payload), _HEX_SHOWN), _WIDTH):
        part = payload[start : start + _WIDTH]
        beside = "".join(chr(b) if 32 <= b < 127 else "." for b in part)
        yield f"{start:08x}  {part.hex(' '):<{3 * _WIDTH - 1}}  {beside}"
    if len(payload) > _HEX_SHOWN:
        yield f"... ({len(payload):,} bytes; --format json gives all)"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _print_table(console: Console, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """As wide as a terminal is, the last column cut; with all of it where there is none."""
    table = Table()
    for name in names:
        right = "right" if name == "letters" else "left"
        table.add_column(name.replace("_", " "), justify=right, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in names))
    if not console.is_terminal:
        console.width = max(console.width, Console(width=100_000).measure(table).maximum)
    console.print(table)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def _write_json(value: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")
