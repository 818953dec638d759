"""Answers of rows that are JSON already, and small answers that are not."""

from __future__ import annotations

from datetime import UTC

import msgspec
from fastapi.responses import Response

from k2_api.answers.wish import Headers
from k2_api.questions.parameters import Parameters
from k2_api.reading.asked import Asked
from k2_api.reading.queries import Page
from k2_api.reading.reader import read_from
from k2_api.tail.freshness import Freshness


def headers_of(asked: Asked, tag: str | None = None) -> Headers:
    """What is told of rows beside them: the table, its snapshot, how fresh they are, the tag."""
    snapshot = text(read_from(asked.table, asked.at))
    headers = {"K2-Table": asked.dataset.table}
    if tag is not None:
        headers["ETag"] = tag
    if snapshot is not None:
        headers["K2-Snapshot-Id"] = snapshot
    if asked.tail is not None:
        headers["K2-Freshness"] = told(asked.tail.freshness)
    return headers


def told(freshness: Freshness) -> str:
    """How fresh the rows are, as a header tells it: `live; through=2024-08-08T23:55:00Z`."""
    if freshness.through is None:
        return freshness.tail
    return f"{freshness.tail}; through={freshness.through.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def page_json(asked: Asked, said: Parameters, found: Page, **more: object) -> bytes:
    """The same as JSON, to stand alone or inside of another answer."""
    meta = {
        "table": asked.dataset.table,
        "snapshot_id": text(found.snapshot_id),
        "start": found.start,
        "end": found.end,
        "limit": said.limit,
        "has_more": found.next_cursor is not None,
        "next_cursor": found.next_cursor,
        "freshness": asked.freshness,
        **more,
    }
    rows = ",".join(found.rows)
    return f'{{"data":[{rows}],"meta":'.encode() + msgspec.json.encode(meta) + b"}"


def answer(value: object) -> Response:
    """The value as JSON."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def text(snapshot_id: int | None) -> str | None:
    """A snapshot's id as answers tell it."""
    return None if snapshot_id is None else str(snapshot_id)
