"""An answer that is sent while its rows are read.

Nobody waits for all of it, and its length is known to nobody. Where rows break off, the connection
does too, without the mark that ends a whole answer: a client never takes a part for the whole.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import anyio
import pyarrow as pa
from anyio.to_thread import run_sync
from starlette.responses import StreamingResponse
from starlette.types import Send

from k2_api.answers.compression import compressing
from k2_api.answers.formats import Piece, stream
from k2_api.answers.wish import VARY, Headers, Wish

# A client that takes nothing for so long has gone, or holds up what others wait for.
STALLED_S = 60.0


class Streamed(StreamingResponse):
    """Rows in a streamed format; the batches are closed with it, whoever ends it."""

    def __init__(
        self,
        wish: Wish,
        batches: Generator[pa.RecordBatch, None, None],
        schema: pa.Schema,
        name: str,
        headers: Headers,
    ) -> None:
        self._batches = batches
        pieces = stream(batches, schema, wish.format)
        self._pieces: Iterator[Piece] = (
            pieces if wish.coding is None else compressing(pieces, wish.coding)
        )
        more = {"Content-Disposition": f'attachment; filename="{name}.{wish.format.suffix}"'}
        if wish.coding is not None:
            more["Content-Encoding"] = wish.coding
        super().__init__(
            (), headers={**headers, **more, "Vary": VARY}, media_type=wish.format.media_type
        )

    async def stream_response(self, send: Send) -> None:
        """Send the pieces. What fails before the first one is still answered with a problem."""
        try:
            piece = await run_sync(self._next)
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            while piece is not None:
                with anyio.fail_after(STALLED_S):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await run_sync(self._next)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(self._batches.close)

    def _next(self) -> Piece | None:
        return next(self._pieces, None)
