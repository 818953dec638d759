"""What may be asked, in the API's own words: names with commas, instants as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from k2_client.times import When, instant_text
from k2_market.errors import UsageError

Names = str | Sequence[str]
State = When | int
Asked = dict[str, str | None]


class Options(TypedDict, total=False):
    """What every question may say besides.

    ``as_of``: a tag, an instant or a snapshot id; ``order="desc"``: the last row first;
    ``fields``: these columns alone; ``limit``: the most rows.
    """

    as_of: State
    order: Literal["asc", "desc"]
    fields: Sequence[str]
    limit: int


def ranged(
    symbol: Names | None, exchange: Names | None, start: When | None, end: When | None
) -> Asked:
    """Which instruments, and when. Raises UsageError."""
    return {
        "symbol": joined(symbol),
        "exchange": joined(exchange),
        "start": None if start is None else instant_text("start", start),
        "end": None if end is None else instant_text("end", end),
    }


def joined(names: Names | None) -> str | None:
    """One name or several."""
    return names if names is None or isinstance(names, str) else ",".join(names)


def listed(names: Names) -> list[str]:
    """The names one by one."""
    return names.split(",") if isinstance(names, str) else list(names)


def state_text(moment: State | None) -> str | None:
    """The state of a table. A text goes as it is: it may be a tag."""
    if moment is None or isinstance(moment, str):
        return moment
    return str(moment) if isinstance(moment, int) else instant_text("as_of", moment)


def said(asked: Mapping[str, str | None], options: Options | None = None) -> dict[str, str]:
    """What was said of all that may be. Raises UsageError."""
    more: Asked = {}
    if options is not None:
        limit, fields = options.get("limit"), options.get("fields")
        if limit is not None and limit < 1:
            raise UsageError(f"limit: {limit} is less than 1. Leave it out for all rows.")
        more = {"as_of": state_text(options.get("as_of")), "order": options.get("order")}
        more["fields"] = None if fields is None else ",".join(fields)
    return {name: value for name, value in {**asked, **more}.items() if value is not None}
