"""Entity tags (RFC 9110, 8.8.3): an answer that a client has already is not sent again.

They are weak: the same rows may come compressed or not. A tag is made of what the rows were made
of (question, snapshot, revision of the tail), so that 304 is said before any row is read.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from importlib.metadata import version

import msgspec

_DIGEST = 16


def tag_of(*parts: object) -> str:
    """The tag of an answer that is the same whenever these parts are."""
    made_of = msgspec.json.encode((_release(), *parts))
    return f'W/"{blake2b(made_of, digest_size=_DIGEST).hexdigest()}"'


def names(if_none_match: str | None, tag: str) -> bool:
    """Whether the header names the tag, by weak comparison."""
    if if_none_match is None:
        return False
    named = [t.strip().removeprefix("W/") for t in if_none_match.split(",")]
    return tag.removeprefix("W/") in named or named == ["*"]


@cache
def _release() -> str:
    """Another release may answer the same in another shape."""
    return version("k2-market-data")
