"""What the operator may set of the guard, by environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from k2_api.guard.keys import require_rate
from k2_market.errors import UsageError

RATE, BATCH_RATE, STORE = "K2_API_RATE", "K2_API_BATCH_RATE", "K2_API_RATE_STORE"
ORIGINS = "K2_API_CORS_ORIGINS"


@dataclass(frozen=True)
class GuardSettings:
    """Rates as ``100/minute``, where they are counted, and the origins of pages that may ask."""

    rate: str = "100/minute"
    batch_rate: str = "20/minute"
    rate_store: str = "memory://"
    origins: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> GuardSettings:
        """The settings from K2_API_*. Raises UsageError for a rate or an origin that is none."""
        given = {
            "rate": env.get(RATE),
            "batch_rate": env.get(BATCH_RATE),
            "rate_store": env.get(STORE),
        }
        settings = cls(**{k: v for k, v in given.items() if v}, origins=_origins(env))
        require_rate(RATE, settings.rate)
        require_rate(BATCH_RATE, settings.batch_rate)
        return settings


def _origins(env: Mapping[str, str]) -> tuple[str, ...]:
    origins = tuple(o.strip() for o in env.get(ORIGINS, "").split(",") if o.strip())
    for origin in origins:
        if origin == "*" or "://" not in origin or origin.endswith("/"):
            raise UsageError(
                f"{ORIGINS}: {origin!r} is no origin. Name each one, such as "
                "https://research.example.com, separated by commas."
            )
    return origins
