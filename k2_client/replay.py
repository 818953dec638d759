"""What came, in the order in which it came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from k2_client.messages import Candles, End, Quotes, Refusal, Rows, Trades, read_message
from k2_client.problems import BadAnswer
from k2_client.query import PAGE_ROWS
from k2_client.transport import Http


def replayed(http: Http, asked: Mapping[str, str]) -> Iterator[Rows]:
    """All messages of a replay, page after page. Raises ClientError."""
    page: End | None = End(has_more=True, cursor=asked.get("cursor"))
    while page is not None and page.has_more:
        onward = {} if page.cursor is None else {"cursor": page.cursor}
        body = http.get("/v1/replay", {**asked, "limit": str(PAGE_ROWS), **onward})
        page = None
        for line in body.splitlines():
            match read_message(line):
                case Trades() | Quotes() | Candles() as rows:
                    yield rows
                case End() as page:
                    break
                case Refusal() as refusal:
                    raise refusal.problem
        if page is None:
            raise BadAnswer("a page of the replay has no end. Is it K2's API?")
