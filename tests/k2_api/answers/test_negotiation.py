from __future__ import annotations

import pytest

from k2_api.answers.formats import Format
from k2_api.answers.negotiation import chosen_coding, chosen_format
from k2_market.errors import NotAcceptable

ALL = tuple(Format)


@pytest.mark.parametrize(
    ("asked", "accept", "found"),
    [
        (None, None, "json"),
        (None, "", "json"),
        (None, "*/*", "json"),
        (None, "application/json", "json"),
        (None, "text/csv", "csv"),
        (None, "TEXT/CSV; charset=utf-8; header=present", "csv"),
        (None, "text/*", "csv"),
        (None, "application/*", "json"),
        (None, "application/x-ndjson", "ndjson"),
        (None, "application/jsonl", "ndjson"),
        (None, "application/vnd.apache.parquet", "parquet"),
        (None, "application/vnd.apache.arrow.stream", "arrow"),
        # A browser's own.
        (None, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        (None, "application/json;q=0.5, text/csv", "csv"),
        (None, "text/csv;q=0.2, application/x-ndjson;q=0.3", "ndjson"),
        (None, "*/*, application/json;q=0", "ndjson"),
        (None, "text/csv, application/json", "json"),
        ("arrow", "text/csv", "arrow"),
        ("json", "nonsense", "json"),
    ],
)
def test_a_format_is_what_was_asked_for_or_is_accepted_most(
    asked: str | None, accept: str | None, found: str
) -> None:
    assert chosen_format(asked, accept, ALL) == found


@pytest.mark.parametrize(
    ("asked", "accept"),
    [
        ("xml", None),
        ("JSON", None),
        ("", "application/json"),
        (None, "text/html"),
        (None, "application/json;q=0"),
        (None, "application/json;q=nan"),
        (None, "application/json;q=7"),
        (None, ";;,,q="),
        (None, "*/*;q=0"),
    ],
)
def test_a_format_that_there_is_not_is_refused_with_the_list(
    asked: str | None, accept: str | None
) -> None:
    with pytest.raises(NotAcceptable, match=r"ndjson \(application/x-ndjson\), csv"):
        chosen_format(asked, accept, ALL)


def test_only_what_is_offered_is_chosen() -> None:
    assert chosen_format(None, "text/csv, application/json;q=0.1", (Format.JSON,)) == "json"
    with pytest.raises(NotAcceptable, match="There is: json"):
        chosen_format("csv", None, (Format.JSON,))


@pytest.mark.parametrize(
    ("accept", "found"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("*", "zstd"),
        ("*, zstd;q=0", "gzip"),
        ("gzip;q=0.5, identity", None),
        ("GZIP", "gzip"),
        ("gzip;q=high", None),
    ],
)
def test_a_coding_is_used_only_where_it_is_accepted(accept: str | None, found: str | None) -> None:
    assert chosen_coding(accept) == found
