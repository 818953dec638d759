"""Clients of the API that have a key: one that may do everything, as often as a test asks."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

from fastapi.testclient import TestClient

from k2_api.app import create_app
from k2_api.guard.keys import SCOPES, create_key
from k2_lake.catalog import LakeSettings

FAST = "1000000/minute"


def fast_key(settings: LakeSettings) -> str:
    """A new key to the API of this lake."""
    return create_key(settings.home, f"test-{token_hex(6)}", SCOPES, FAST)


def keyed(settings: LakeSettings, **options: Any) -> TestClient:
    """A client of an API over this lake, with a key of its own."""
    headers = {"X-API-Key": fast_key(settings)}
    return TestClient(create_app(settings), headers=headers, **options)
