"""A question to the API, which is asked when its rows are wanted, and not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

import msgspec

from k2_client.answers import Answer, Count, Page
from k2_client.problems import BadAnswer, LibraryMissing
from k2_client.rows import R
from k2_client.streams import FORMATS, ArrowStream, format_of, write_whole
from k2_client.transport import Http
from k2_market.errors import UnknownName, UsageError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

# The most rows of a page. A page is one request of what the key may ask for in a minute.
PAGE_ROWS = 10_000


@dataclass(frozen=True)
class Query(Generic[R]):
    """Rows of one kind: iterate over them, or take them in one of the forms below.

    Each form asks anew. Iterating and ``pages`` go page by page through cursors, which stay right
    while tables grow; the other forms are one Arrow stream of any length, exact in types and fast,
    and ask for the scope ``export``. ``limit`` is the most rows of any form, None for all.
    """

    http: Http
    path: str
    asked: Mapping[str, str]
    row: type[R]
    limit: int | None = None

    def __iter__(self) -> Iterator[R]:
        """The rows in order. Raises ClientError."""
        for page in self.pages():
            yield from page.rows

    def pages(self) -> Iterator[Page[R]]:
        """The rows page by page, of at most 10,000 rows, with what the API says of each."""
        asked, left = dict(self.asked), self.limit
        while True:
            size = PAGE_ROWS if left is None else min(left, PAGE_ROWS)
            page = self._page({**asked, "limit": str(size)})
            yield page
            left = None if left is None else left - len(page.rows)
            if page.meta.next_cursor is None or left == 0:
                return
            asked["cursor"] = page.meta.next_cursor

    def to_list(self) -> list[R]:
        """All rows."""
        return list(self)

    def first(self) -> R | None:
        """The first row, None where there is none."""
        return next(iter(self._page({**self.asked, "limit": "1"}).rows), None)

    def count(self) -> Count:
        """How much it would be, before it is asked for; a ``limit`` does not bear on it."""
        asked = {k: v for k, v in self.asked.items() if k not in ("fields", "order")}
        found: Answer[Count] = decoded(self.http.get(f"{self.path}/count", asked), Answer[Count])
        return found.data

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table: decimals as decimals, instants in UTC."""
        import pyarrow as pa

        def table(chunks: Iterator[bytes]) -> pa.Table:
            stream = ArrowStream(chunks, self.limit)
            return pa.Table.from_batches(list(stream), stream.schema)

        return self.http.read(self.path, self._streamed("arrow"), table)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows batch by batch as they come, for more than memory holds."""
        with self.http.stream(self.path, self._streamed("arrow")) as chunks:
            yield from ArrowStream(chunks, self.limit)

    def to_polars(self) -> pl.DataFrame:
        """All rows as a Polars frame. Raises LibraryMissing."""
        try:
            import polars as pl
        except ImportError as error:
            raise LibraryMissing("polars is not installed: pip install polars.") from error
        frame = pl.from_arrow(self.to_arrow())
        return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()

    def to_pandas(self) -> pd.DataFrame:
        """All rows as a pandas frame, decimals as objects. Raises LibraryMissing."""
        try:
            import pandas  # noqa: F401
        except ImportError as error:
            raise LibraryMissing(
                "pandas is not installed: pip install 'k2-market-data[pandas]'. "
                "to_polars() and to_arrow() do without it."
            ) from error
        return self.to_arrow().to_pandas(maps_as_pydicts="strict")

    def stream(self, format: str) -> AbstractContextManager[Iterator[bytes]]:  # noqa: A002
        """The bytes of all rows as they come: arrow, csv, ndjson or parquet.

        Raises UsageError for another, and for a ``limit`` above 10,000, which nothing keeps here.
        """
        if format not in FORMATS:
            raise UnknownName("format", format, FORMATS)
        if self.limit is not None and self.limit > PAGE_ROWS:
            raise UsageError(
                f"limit: {self.limit:,} is more than {PAGE_ROWS:,}. A file holds at most so many "
                "rows, or all of a range: leave it out, and narrow the range by start and end."
            )
        return self.http.stream(self.path, self._streamed(format))

    def save(
        self,
        file: str | Path,
        format: str | None = None,  # noqa: A002
        seen: Callable[[int], None] = lambda _: None,
    ) -> Path:
        """Write all rows to a file, in the format that its name ends with unless one is named.

        ``seen`` is told the length of each part as it comes. A file that could not be written to
        its end is not there. Raises UsageError, ClientError.
        """
        path = Path(file)
        write_whole(path, self.stream(format_of(path, format)), seen)
        return path

    def _page(self, asked: Mapping[str, str]) -> Page[R]:
        found = decoded(self.http.get(self.path, asked), _answer_of(self.row))
        return Page(found.data, found.meta)

    def _streamed(self, form: str) -> dict[str, str]:
        asked = {**self.asked, "format": form}
        if self.limit is not None and self.limit <= PAGE_ROWS:
            asked["limit"] = str(self.limit)
        return asked


def decoded(body: bytes, form: Any) -> Any:
    """The answer in its form. Raises BadAnswer."""
    try:
        return _decoder(form).decode(body)
    except msgspec.MsgspecError as error:
        raise BadAnswer(
            f"the answer is not what this client knows: {error}. Is it K2's API, and of the same "
            "version? pip install --upgrade k2-market-data"
        ) from error


@cache
def _decoder(form: Any) -> msgspec.json.Decoder[Any]:
    # Not strict: integers beyond 2^53, such as snapshot ids, are texts in the answers.
    return msgspec.json.Decoder(form, strict=False)


def _answer_of(row: type[R]) -> Any:
    return Answer[list[row]]  # type: ignore[valid-type]
