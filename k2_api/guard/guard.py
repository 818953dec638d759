"""What guards a running API: its keys, rates, places and breakers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from k2_api.guard.budget import Budget
from k2_api.guard.dependencies import Breakers
from k2_api.guard.keys import Key, Keys
from k2_api.guard.levels import OFF_FROM, Levels, features
from k2_api.guard.places import EXPORTS, EXPORTS_OF_A_KEY, Places
from k2_api.guard.rates import Rates, Taken
from k2_api.guard.refusals import InvalidKey, MissingKey, RateLimited
from k2_api.guard.settings import GuardSettings
from k2_lake.catalog import LakeSettings

BATCH_PATH = "/v1/ohlcv/batch"
# Guessing 256 bits is hopeless at any rate: this keeps a broken client from filling the log.
FAILED_RATE = "60/minute"
SUBPROTOCOL = "k2.key."


class Guard:
    """For one event loop: lets requests in, by key and rate."""

    def __init__(self, lake: LakeSettings, settings: GuardSettings) -> None:
        self.settings = settings
        self.keys = Keys(lake.home)
        self.rates = Rates(settings.rate_store)
        self.places = Places()
        self.exports = Places(EXPORTS, EXPORTS_OF_A_KEY, "exports")
        self.budget = Budget(settings.timeout_s, settings.memory)
        self.breakers = Breakers.of(lake.warehouse)
        parts = (self.breakers.catalog, self.breakers.store, self.breakers.kafka)
        self.levels = Levels(*parts, self.places.load)

    def state(self) -> dict[str, Any]:
        """The level, what is switched off, the breakers, and the share of places that are taken."""
        level = self.levels.level()
        return {
            "level": level.name.lower(),
            "switched_off": sorted(OFF_FROM.keys() - features(level)),
            "breakers": self.breakers.states(),
            "load": round(self.places.load(), 3),
            "in_work": self.places.taken,
        }

    async def identify(self, headers: Mapping[bytes, bytes], client: str) -> Key:
        """Whose request this is. Raises MissingKey, InvalidKey, RateLimited.

        A known key is never turned away for what others at its address tried.
        """
        text = _key_text(headers)
        key = None if text is None else self.keys.known(text)
        if key is not None:
            return key
        taken = await self.rates.take(f"failed {client}", FAILED_RATE)
        if not taken.allowed:
            raise _too_often(taken, "failed attempts from your address", "Mend the key first.")
        raise _without_key() if text is None else _with_unknown_key()

    async def count(self, key: Key, path: str) -> Taken:
        """Count a request of this key, and say what is left. Raises RateLimited.

        A rate that the key was made with goes for all that it asks.
        """
        batch = path == BATCH_PATH and key.rate is None
        rate = self.settings.batch_rate if batch else key.rate or self.settings.rate
        taken = await self.rates.take(f"{'batch' if batch else 'key'} {key.id}", rate)
        if not taken.allowed:
            raise _too_often(taken, f"requests of the key {key.name!r}", "Ask for more at once.")
        return taken


def _key_text(headers: Mapping[bytes, bytes]) -> str | None:
    """The key in the headers, None where there is none."""
    own = headers.get(b"x-api-key")
    if own is not None:
        return own.decode("latin-1").strip()
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    # A browser's WebSocket can set no other header.
    offered = headers.get(b"sec-websocket-protocol", b"").decode("latin-1").split(",")
    named = [o.strip() for o in offered if o.strip().startswith(SUBPROTOCOL)]
    return named[0].removeprefix(SUBPROTOCOL) if named else None


def _without_key() -> MissingKey:
    return MissingKey(
        "this needs an API key: send it as X-API-Key, or as Authorization: Bearer. Whoever runs "
        "K2 makes one with `k2 keys create NAME`; `k2 demo` prints its own."
    )


def _with_unknown_key() -> InvalidKey:
    return InvalidKey(
        "this API key is not known: it is mistyped, was revoked, or is of another home. "
        "`k2 keys list` shows which there are, `k2 keys create NAME` makes one."
    )


def _too_often(taken: Taken, what: str, then: str) -> RateLimited:
    headers = {name.decode(): value.decode() for name, value in taken.headers()}
    return RateLimited(
        f"{what}: more than {taken.limit} in {taken.window_s} s. Wait {taken.reset_s} s. {then}",
        {**headers, "Retry-After": str(taken.reset_s)},
    )
