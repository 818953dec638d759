"""The page at ``/``: static files, open to anybody because no data stands in them.

What the page shows it asks of the API like any other client, with a key that the reader gives it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from k2_market.errors import UsageError

STATIC = Path(__file__).parent / "static"
DAGSTER_VARIABLE = "K2_DAGSTER_URL"
# Stored ones, and some that are computed from them.
TIMEFRAMES = ("1m", "5m", "7m", "30m", "1h", "4h", "1d", "1w")

# Everything that the page runs, draws or asks comes from this server. 'self' covers WebSockets.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # Asked again each time, and answered with 304 while nothing changed: no page of two versions.
    "Cache-Control": "no-cache",
}


class _Files(StaticFiles):
    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers.update(HEADERS)
        return response


def install_page(app: FastAPI) -> None:
    """Serve the page at ``/`` and its files below ``/page``. Raises UsageError."""
    settings = {
        "version": version("k2-market-data"),
        "timeframes": TIMEFRAMES,
        "dagster": dagster_address(os.environ),
    }

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(STATIC / "index.html", headers=HEADERS)

    @app.get("/page/settings.json", include_in_schema=False)
    def page_settings() -> Response:
        return JSONResponse(settings, headers=HEADERS)

    app.mount("/page", _Files(directory=STATIC))


def dagster_address(environment: Mapping[str, str]) -> str | None:
    """Where a browser finds Dagster, None where nobody says. Raises UsageError."""
    address = environment.get(DAGSTER_VARIABLE) or None
    if address is not None and urlsplit(address).scheme not in ("http", "https"):
        raise UsageError(
            f"{DAGSTER_VARIABLE} was {address!r}. Give the address of Dagster's page as a browser "
            "reaches it, such as http://127.0.0.1:3000."
        )
    return address
