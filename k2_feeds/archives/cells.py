"""The cells of an archive's rows, column by column, and what could not be read of them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from k2_feeds.parsing.faults import read_json, shown
from k2_market import exact

_FLAGS = pa.array(["false", "true"])
_MARK = b"\xef\xbb\xbf"
_SECONDS = re.compile(r"(\d{1,11})(?:\.(\d{1,12}))?")


class Cells:
    """Rows of one file as columns of text. ``faults`` has reason and detail by row.

    Numbers and times of a refused row are null; read the columns again without those rows.
    """

    def __init__(self, symbol: str, columns: Mapping[str, pa.Array[Any]], rows: int) -> None:
        self._columns, self._symbol = columns, symbol
        self.faults: dict[int, tuple[str, str]] = {}
        self.rows = rows

    def only(self, rows: Sequence[int]) -> Cells:
        """The same of some rows, their faults forgotten."""
        kept = pa.array(rows, pa.int64())
        columns = {name: column.take(kept) for name, column in self._columns.items()}
        return Cells(self._symbol, columns, len(rows))

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def texts(self, name: str) -> list[str]:
        """The cells of a column as they are."""
        found: list[Any] = self._columns[name].to_pylist()
        return found

    def text(self, name: str) -> pa.Array[Any]:
        """The same as an Arrow column."""
        return self._columns[name]

    def symbols(self) -> pa.Array[Any]:
        """The exchange's symbol of each row: the file's, else the row's own, "" if it has none."""
        own = not self._symbol and "symbol" in self._columns
        return self.text("symbol") if own else pa.repeat(self._symbol, self.rows)

    def integers(self, name: str, most: int = exact.LARGEST_ID) -> pa.Array[Any]:
        """Whole numbers from 0 to ``most``."""
        numbers, refused = exact.integers(self.text(name), most)
        self._refuse(name, refused, "is no whole number in its range")
        return numbers

    def flags(self, name: str) -> pa.Array[Any]:
        """``True`` or ``false``, in whatever case."""
        found: Any = pc.index_in(pc.ascii_lower(self._columns[name]), value_set=_FLAGS)
        if found.null_count:
            refused = [i for i, known in enumerate(found.is_valid().to_pylist()) if not known]
            self._refuse(name, refused, "is not true or false")
        flags: pa.Array[Any] = pc.equal(found, pa.scalar(1, pa.int32()))
        return flags

    def choices(self, name: str, known: Mapping[str, str]) -> pa.Array[Any]:
        """What each of the known texts stands for."""
        found = [known.get(text) for text in self.texts(name)]
        wanted = f"is none of {', '.join(known)}"
        self._refuse(name, [i for i, f in enumerate(found) if f is None], wanted)
        return pa.array(found, pa.string())

    def seconds(self, name: str) -> pa.Array[Any]:
        """Microseconds of seconds since 1970 UTC, cut, not rounded."""
        found = [micros_of_seconds(text) for text in self.texts(name)]
        wanted = "is no number of seconds since 1970"
        self._refuse(name, [i for i, f in enumerate(found) if f is None], wanted)
        return pa.array(found, pa.int64())

    def _refuse(self, name: str, rows: Sequence[int], why: str) -> None:
        for row in rows:
            detail = f"the {name} {why}, found {shown(self._columns[name][row].as_py())}"
            self.faults.setdefault(row, ("wrong_value", detail))


def micros_of_seconds(text: str) -> int | None:
    """``1688669597.8277369`` gives 1688669597827736; None for anything but such a number."""
    found = _SECONDS.fullmatch(text)
    if found is None:
        return None
    whole, part = found.groups(default="")
    return int(whole) * 1_000_000 + int((part + "000000")[:6])


def plain_columns(rows: Sequence[bytes], names: Sequence[str]) -> dict[str, pa.Array[Any]] | None:
    """The columns of lines of CSV, split all at once; None where not all are as simple as that.

    Simple is text without quotation marks and line ends, with as many cells in every line as there
    are names: then this gives what ``split_csv`` gives line by line, in a tenth of the time.
    """
    joined = b"\n".join(rows)
    # Arrow would take a byte order mark for no part of the first cell.
    strange = b'"' in joined or b"\r" in joined or joined.startswith(_MARK)
    lines = joined.count(b"\n") + 1
    if strange or lines != len(rows) or not all(rows) or len(set(names)) < len(names):
        return None
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(joined),
            arrow_csv.ReadOptions(
                column_names=list(names), use_threads=False, block_size=len(joined) + 1
            ),
            arrow_csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, KeyError):
        return None
    if table.num_rows != len(rows):
        return None
    return {name: table[name].combine_chunks() for name in names}


def split_csv(row: bytes) -> list[str]:
    """The cells of a line of CSV. Raises ValueError for what is no line of text."""
    text = row.decode()
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from None


def split_json(row: bytes) -> list[str]:
    """The elements of a JSON array as text, numbers as they are written. Raises ValueError."""
    found = read_json(row)
    if not isinstance(found, list):
        raise ValueError(f"an array was expected, found {shown(found)}")
    return [str(element) for element in found]


def split_object(row: bytes) -> list[str]:
    """The values of a JSON object as text, in order. Raises ValueError."""
    found = read_json(row)
    if not isinstance(found, dict):
        raise ValueError(f"an object was expected, found {shown(found)}")
    return [str(value) for value in found.values()]
