"""What the operator may set of the guard, by environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from k2_api.guard.keys import require_rate
from k2_market.errors import UsageError

RATE, BATCH_RATE, STORE = "K2_API_RATE", "K2_API_BATCH_RATE", "K2_API_RATE_STORE"
ORIGINS = "K2_API_CORS_ORIGINS"
MAX_TIMEOUT_S = 600
TIMEOUT, MEMORY = "K2_API_TIMEOUT_S", "K2_API_MEMORY"

_MEMORY = re.compile(r"\d+(\.\d+)?(MB|GB|MiB|GiB)")


@dataclass(frozen=True)
class GuardSettings:
    """Rates as ``100/minute``, where they are counted, origins of pages that may ask, bounds."""

    rate: str = "100/minute"
    batch_rate: str = "20/minute"
    rate_store: str = "memory://"
    origins: tuple[str, ...] = ()
    timeout_s: float = 10.0
    memory: str = "1GB"

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> GuardSettings:
        """The settings from K2_API_*. Raises UsageError for a value that is none."""
        given = {
            "rate": env.get(RATE),
            "batch_rate": env.get(BATCH_RATE),
            "rate_store": env.get(STORE),
            "memory": env.get(MEMORY),
        }
        settings = cls(
            **{k: v for k, v in given.items() if v},
            origins=_origins(env),
            timeout_s=_seconds(env.get(TIMEOUT) or "10"),
        )
        if not _MEMORY.fullmatch(settings.memory):
            raise UsageError(f"{MEMORY} {settings.memory!r} is no size. Write such as 1GB.")
        require_rate(RATE, settings.rate)
        require_rate(BATCH_RATE, settings.batch_rate)
        return settings


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= MAX_TIMEOUT_S:
        raise UsageError(f"{TIMEOUT} {text!r} is no time. Write seconds, up to {MAX_TIMEOUT_S}.")
    return found


def _origins(env: Mapping[str, str]) -> tuple[str, ...]:
    origins = tuple(o.strip() for o in env.get(ORIGINS, "").split(",") if o.strip())
    for origin in origins:
        if origin == "*" or "://" not in origin or origin.endswith("/"):
            raise UsageError(
                f"{ORIGINS}: {origin!r} is no origin. Name each one, such as "
                "https://research.example.com, separated by commas."
            )
    return origins
