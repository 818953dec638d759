"""Dead letters of both sources as a person or a program reads them.

A letter is named by where it is: ``binance/trades/1/0/4711/-1`` is exchange, kind, epoch,
partition, offset and row of a rejected one, ``undelivered/NUMBER`` the file of one that Kafka
refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from k2_feeds.kafka.frame import MalformedHeader, decode_headers
from k2_feeds.kafka.undelivered import DeadLetters, Undelivered
from k2_lake.catalog import Lake, LakeSettings
from k2_lake.duckdb_engine import DuckDBEngine
from k2_lake.letters import Wanted, counts, newest
from k2_lake.read_sql import existing_lake
from k2_market.errors import UsageError

UNDELIVERED = "undelivered"
# Numbers of as many digits as their columns hold.
_NAME = re.compile(r"(\w+)/(\w+)/(\d{1,9})/(\d{1,9})/(\d{1,18})(?:/(-1|\d{1,9}))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Letter:
    """One dead letter. ``at`` is when the frame was received, or kept where that is not known."""

    name: str
    exchange: str
    kind: str
    reason: str
    detail: str
    at: datetime
    payload: bytes

    @classmethod
    def rejected(cls, row: Mapping[str, Any]) -> Letter:
        """Of a row of ``silver.rejected``."""
        names = ("exchange", "kind", "epoch", "kafka_partition", "kafka_offset", "frame_index")
        return cls(
            "/".join(str(row[n]) for n in names),
            row["exchange"],
            row["kind"],
            row["reason"],
            row["detail"],
            row["received_at"],
            row["payload"],
        )

    @classmethod
    def undelivered(cls, number: str, letter: Undelivered) -> Letter:
        """Of a file that a feed kept."""
        *_, kind, exchange, _ = ("", "", *letter.topic.split("."))
        detail = f"Kafka did not take it for {letter.topic}"
        at = _received_at(letter)
        name = f"{UNDELIVERED}/{number}"
        return cls(name, exchange, kind, letter.reason, detail, at, letter.payload)

    def told(self) -> dict[str, object]:
        """For a program: the letter without its bytes."""
        return {
            "letter": self.name,
            "exchange": self.exchange,
            "kind": self.kind,
            "received_at": instant(self.at),
            "reason": self.reason,
            "detail": self.detail,
            "bytes": len(self.payload),
        }


@dataclass(frozen=True)
class Asked:
    """Which letters of both sources. ``number`` asks for one undelivered letter and no other."""

    wanted: Wanted
    number: str | None = None

    @classmethod
    def of(cls, name: str | None = None, **conditions: Any) -> Asked:
        """What a letter's name and further conditions of ``Wanted`` ask for together.

        Without the row at its end, a name stands for all letters of the frame. Raises UsageError
        for what is no name, and where the two contradict each other.
        """
        place: dict[str, Any] = {}
        number = None
        if name is not None:
            kind, _, rest = name.partition("/")
            number = rest if kind == UNDELIVERED else None
            place = {} if kind == UNDELIVERED else _place(name)
        for condition, value in place.items():
            if conditions.get(condition) not in (None, value):
                raise UsageError(f"letter {name!r} is not of the {condition} that was asked for.")
        return cls(Wanted(**conditions | place), number)


class DeadLetterOffice:
    """The dead letters of a home, of both sources. Raises UsageError for a home without any state.

    A host that only runs feeds may have no lake of its own: then nothing was rejected there.
    """

    def __init__(self, home: Path) -> None:
        self.kept = DeadLetters(home)
        self.lake = self._lake(LakeSettings.from_environment(os.environ, home))
        self.engine = None if self.lake is None else DuckDBEngine(io=self.lake.io)

    def counts(self, asked: Asked) -> list[dict[str, Any]]:
        """How many by exchange, kind and reason, the most frequent first."""
        rows: list[dict[str, Any]] = []
        if self.lake is not None and self.engine is not None and asked.number is None:
            rows = counts(self.lake, self.engine, asked.wanted).to_pylist()
        return _counted(rows, self.undelivered(asked))

    def newest(self, asked: Asked, limit: int) -> list[Letter]:
        """The letters received last, newest first."""
        found = [*islice(self.undelivered(asked), limit)]
        if self.lake is not None and self.engine is not None and asked.number is None:
            rows = newest(self.lake, self.engine, asked.wanted, limit).to_pylist()
            found += map(Letter.rejected, rows)
        return sorted(found, key=lambda letter: letter.at, reverse=True)[:limit]

    def undelivered(self, asked: Asked) -> Iterator[Letter]:
        """The letters that Kafka refused and that meet the conditions, newest first.

        They have no coordinates, so conditions on those rule all of them out.
        """
        wanted = asked.wanted
        if (wanted.epoch, wanted.kafka_partition, wanted.kafka_offset) != (None, None, None):
            return
        numbers = reversed(self.kept.ids()) if asked.number is None else [asked.number]
        for number in numbers:
            letter = Letter.undelivered(number, self.kept.read(number))
            if _meets(letter, wanted):
                yield letter

    def _lake(self, settings: LakeSettings) -> Lake | None:
        try:
            return existing_lake(settings)
        except UsageError:
            if self.kept.ids():
                return None
            raise


def instant(at: datetime) -> str:
    """ISO 8601 in UTC, microseconds and Z."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _place(name: str) -> dict[str, Any]:
    """The conditions that the name of a rejected letter makes."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise UsageError(
            f"{name!r} names no dead letter. Copy a name from `k2 dlq list`, such as "
            "binance/trades/1/0/4711/-1 or undelivered/NUMBER."
        )
    exchange, kind, *numbers = found.groups()
    columns = ("epoch", "kafka_partition", "kafka_offset", "frame_index")
    place = {c: int(n) for c, n in zip(columns, numbers, strict=True) if n is not None}
    return {"exchange": exchange, "kind": kind, **place}


def _counted(rows: Iterable[Mapping[str, Any]], letters: Iterable[Letter]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    days = [
        {**letter.told(), "letters": 1, "first_day": letter.at.date(), "last_day": letter.at.date()}
        for letter in letters
    ]
    for row in (*rows, *days):
        key = row["exchange"], row["kind"], row["reason"]
        names = dict(zip(("exchange", "kind", "reason"), key, strict=True))
        known = found.setdefault(key, {**names, "letters": 0, "first_day": row["first_day"]})
        known["letters"] += row["letters"]
        known["first_day"] = min(known["first_day"], row["first_day"])
        known["last_day"] = max(known.get("last_day", row["last_day"]), row["last_day"])
    return sorted(found.values(), key=lambda c: (-c["letters"], c["exchange"], c["kind"]))


def _received_at(letter: Undelivered) -> datetime:
    try:
        header = decode_headers([letter.header], lambda _: letter.topic)
    except MalformedHeader:
        return _EPOCH + timedelta(microseconds=letter.kept_at_us)
    found: Any = header.received_at.to_pylist()[0]
    return found  # type: ignore[no-any-return]


def _meets(letter: Letter, wanted: Wanted) -> bool:
    day = letter.at.date()
    named = (wanted.exchange, wanted.kind, wanted.reason)
    has = (letter.exchange, letter.kind, letter.reason)
    return (
        all(want in (None, one) for want, one in zip(named, has, strict=True))
        and (wanted.first_day or day) <= day <= (wanted.last_day or day)
        and (wanted.text or "").lower() in letter.detail.lower()
    )
