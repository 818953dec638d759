"""What the API depends on, each behind a breaker: the catalog, the store of files, and Kafka."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from k2_api.guard.breaker import Breaker
from k2_api.guard.refusals import Refusal
from k2_lake.locations import local_path
from k2_market.errors import FileBroken, LakeUnavailable, LogError

# One thread asks Kafka, not every request: it may try sooner.
KAFKA_REST_S = 5.0


@dataclass(frozen=True)
class Breakers:
    """One for each dependency."""

    catalog: Breaker
    store: Breaker
    kafka: Breaker

    @classmethod
    def of(cls, warehouse: str) -> Breakers:
        """Closed ones, for a lake whose files are at ``warehouse``."""
        return cls(
            Breaker("catalog", _is_silence),
            Breaker("store", _is_outage(warehouse)),
            Breaker("Kafka", lambda e: isinstance(e, LogError), KAFKA_REST_S),
        )

    def states(self) -> dict[str, str]:
        """The state of each, by name."""
        return {
            "catalog": self.catalog.state,
            "store": self.store.state,
            "kafka": self.kafka.state,
        }


def _is_silence(error: BaseException) -> bool:
    return isinstance(error, LakeUnavailable | SQLAlchemyError) and not isinstance(error, Refusal)


def _is_outage(warehouse: str) -> Callable[[BaseException], bool]:
    """Whether an error is the whole store's: one damaged file must not switch off all others."""
    folder = local_path(warehouse)

    def is_outage(error: BaseException) -> bool:
        if not isinstance(error, LakeUnavailable) or isinstance(error, FileBroken | Refusal):
            return False
        if folder is not None:
            return not os.access(folder, os.R_OK | os.X_OK)
        return not isinstance(error.__cause__, FileNotFoundError)

    return is_outage
