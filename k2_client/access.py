"""Where the API is and with what key it is asked: from arguments, else from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import version
from urllib.parse import urlsplit

from k2_market.errors import UsageError

ADDRESS_VARIABLE, KEY_VARIABLE = "K2_API_URL", "K2_API_KEY"
DEFAULT_ADDRESS = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Access:
    """The API's address, without a slash at its end, and the key, which is never shown."""

    address: str
    key: str | None = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        agent = {"User-Agent": f"k2-client/{version('k2-market-data')}"}
        return agent if self.key is None else {**agent, "X-API-Key": self.key}

    @property
    def is_here(self) -> bool:
        """Whether it is this machine, which no proxy of the environment is asked for."""
        return urlsplit(self.address).hostname in ("127.0.0.1", "::1", "localhost")

    @property
    def socket_address(self) -> str:
        """The same server for WebSockets: ``ws://`` for ``http://``."""
        return "ws" + self.address.removeprefix("http")


def access(address: str | None, key: str | None) -> Access:
    """The given address and key; for what is None, K2_API_URL and K2_API_KEY.

    Raises UsageError for what can be no address or no key.
    """
    chosen = address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
    secret = key or os.environ.get(KEY_VARIABLE) or None
    try:
        parts = urlsplit(chosen)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(
            f"address: {chosen!r} is no address of an API. Write http://HOST:PORT or https://HOST."
        )
    if secret is not None and not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise UsageError("key: it holds characters that no key has. Copy it anew, without quotes.")
    return Access(chosen.rstrip("/"), secret)
