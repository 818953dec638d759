"""The headers that every answer has: browsers may do no more with it than it needs."""

from __future__ import annotations

Headers = list[tuple[bytes, bytes]]

CLOSED = ("/health", "/metrics")

# An answer of the API is data: nothing in it is to be run, loaded or framed.
_DATA = b"default-src 'none'; frame-ancestors 'none'"
# FastAPI's page takes its script from a CDN and starts it inline.
_DOCS = (
    b"default-src 'self'; img-src 'self' data: https://fastapi.tiangolo.com; "
    b"script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'"
)

_ALWAYS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def needs_key(path: str) -> bool:
    """Whether what is at this path is for holders of a key."""
    return path == "/v1" or path.startswith("/v1/") or path in CLOSED


def safe_headers(path: str) -> Headers:
    """The headers for the answer to this path; those that the answer has itself win."""
    if needs_key(path):
        # A client may keep the answer, no proxy may, and each use is asked for anew (ETag).
        return [
            *_ALWAYS,
            (b"content-security-policy", _DATA),
            (b"cache-control", b"private, no-cache"),
            (b"vary", b"Accept, Authorization, X-API-Key"),
        ]
    return [*_ALWAYS, (b"content-security-policy", _DOCS if path == "/docs" else _DATA)]


def completed(own: Headers, more: Headers) -> Headers:
    """The answer's headers and those of ``more`` that it does not have."""
    has = {name.lower() for name, _ in own}
    return [*own, *(header for header in more if header[0] not in has)]
