"""Where a file is, in the terms of the file system."""

from __future__ import annotations

from urllib.parse import urlparse


def local_path(location: str) -> str | None:
    """The path of a ``file:`` location or plain path, None for a store."""
    parsed = urlparse(location)
    if parsed.scheme == "file":
        return parsed.path
    return location if not parsed.scheme else None
