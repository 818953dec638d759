"""Where the lake is, as the environment says it: the catalog's database and the file store.

Secrets come from the environment alone, and are in no ``repr``, message or log.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from k2_market.errors import UsageError

# PyIceberg's property of the store, and the variables that may give it, the first one that is set.
_PROPERTIES = {
    "s3.endpoint": ("K2_S3_ENDPOINT",),
    "s3.region": ("K2_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
    "s3.access-key-id": ("AWS_ACCESS_KEY_ID",),
    "s3.secret-access-key": ("AWS_SECRET_ACCESS_KEY",),
    "s3.session-token": ("AWS_SESSION_TOKEN",),
}
_DATABASES = ("sqlite", "postgresql")
_CHECKSUMS = "AWS_REQUEST_CHECKSUM_CALCULATION"


def store_properties(env: Mapping[str, str]) -> dict[str, str]:
    """What PyIceberg is told of the store. Raises UsageError for an endpoint that is no URL."""
    found = {
        name: env[next(v for v in variables if env.get(v))]
        for name, variables in _PROPERTIES.items()
        if any(env.get(v) for v in variables)
    }
    endpoint = found.get("s3.endpoint", "http://")
    if not endpoint.startswith(("http://", "https://")):
        raise UsageError(f"K2_S3_ENDPOINT is {endpoint!r}: it begins with http:// or https://.")
    return found


def speak_plainly(store: Mapping[str, str]) -> None:
    """Upload as any S3-compatible store understands, where it is not Amazon's own.

    Of itself the AWS SDK ends each upload with a checksum that stores before 2025, and S3Proxy 3,
    refuse (HTTP 400). It takes the choice from the environment of the process alone, and what is
    set there stays.
    """
    if "s3.endpoint" in store:
        os.environ.setdefault(_CHECKSUMS, "when_required")


def catalog_uri(text: str) -> str:
    """The address of the catalog's database, checked.

    Raises UsageError, which does not repeat it: what cannot be read may hold a password anywhere.
    """
    url = _url(text)
    if url is None or url.get_backend_name() not in _DATABASES or _is_cut_wrongly(url):
        raise UsageError(
            "K2_CATALOG_URI is no address of an SQLite or PostgreSQL database, such as "
            "postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE. A reserved character in the "
            "password is written with %: @ is %40, / is %2F."
        )
    return text


def without_password(text: str) -> str:
    """The address as it may be shown."""
    url = _url(text)
    if url is None:
        return "(no address)"
    secret = {name: "***" for name in url.query if "password" in name}
    return url.update_query_dict(secret).render_as_string(hide_password=True)


def _is_cut_wrongly(url: URL) -> bool:
    """Whether an @ in the password has made a piece of it the host's name, as errors show it."""
    return url.get_backend_name() != "sqlite" and "@" in f"{url.host}{url.database}"


def _url(text: str) -> URL | None:
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        return None
