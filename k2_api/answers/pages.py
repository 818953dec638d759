"""Answers of rows that are JSON already, and small answers that are not."""

from __future__ import annotations

import msgspec
from fastapi.responses import Response

from k2_api.questions.parameters import Parameters
from k2_api.reading.asked import Asked
from k2_api.reading.queries import Page


def page_answer(asked: Asked, said: Parameters, found: Page, **more: object) -> Response:
    """The page and what it was read from; ``more`` goes into its meta."""
    return Response(page_json(asked, said, found, **more), media_type="application/json")


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
