"""What a request wishes of the form of its answer, and answers in that form."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response

from k2_api.answers.compression import WORTH_BYTES, compressed
from k2_api.answers.etags import names
from k2_api.answers.formats import Format
from k2_api.answers.negotiation import chosen_coding, chosen_format

# Of two requests that differ in these, the answer to one is none to the other.
VARY = "Accept, Accept-Encoding, Authorization, X-API-Key"

Headers = dict[str, str]


@dataclass(frozen=True)
class Wish:
    """The format and the coding, and what the client has already."""

    format: Format
    coding: str | None
    known: str | None

    def unchanged(self, headers: Headers) -> Response | None:
        """304 for a client that has this already, by the ETag in ``headers``."""
        if not names(self.known, headers.get("ETag", "")):
            return None
        return Response(status_code=304, headers={**headers, "Vary": VARY})

    def json(self, body: bytes, headers: Headers) -> Response:
        """The JSON, compressed where it is worth it."""
        more = {**headers, "Vary": VARY}
        if self.coding is not None and len(body) >= WORTH_BYTES:
            body = compressed(body, self.coding)
            more["Content-Encoding"] = self.coding
        return Response(body, headers=more, media_type=Format.JSON.media_type)


def wish_of(request: Request, asked: str | None) -> Wish:
    """What the request wishes; ``asked`` is its ``format=``. Raises NotAcceptable."""
    headers = request.headers
    wanted = chosen_format(asked, headers.get("accept"), tuple(Format))
    coding = chosen_coding(headers.get("accept-encoding")) if wanted.text else None
    return Wish(wanted, coding, headers.get("if-none-match"))
