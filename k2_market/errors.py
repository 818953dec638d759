"""Every error that K2 raises on purpose.

K2Error
├── UsageError            the user asked for something that cannot be done (exit code 2)
│   ├── UnknownName       an exchange, table, symbol or timeframe that does not exist
│   ├── NotAcceptable     a format in which there is no answer
│   ├── TooLarge          an answer that would take more than one may
│   └── HomeInUse         another process works in this home
├── FeedError             between the exchange and Kafka
│   ├── Disconnected*     the connection ended
│   ├── SubscriptionRefused
│   ├── ExchangeUnavailable*  its REST interface did not answer, or said "later"
│   └── RequestRefused    it answered a request with a refusal
├── LogError              Kafka
│   ├── BrokerUnavailable*
│   ├── TopicMissing*     the topic does not exist, and the cluster makes none by itself
│   ├── OffsetHole        offsets that the table still needs are gone from the topic
│   └── OffsetBeyondEnd   the table is ahead of the topic: it was recreated
├── RegistryError         the Schema Registry of the typed topics
│   ├── RegistryUnavailable*
│   └── SchemaRefused     consumers of a typed topic could not read what came before
├── LakeError             tables
│   ├── CommitConflict*   another writer was first
│   ├── SchemaMismatch
│   ├── DayRetired        a day cannot be computed anew: what it was made of was dropped
│   ├── EngineUnavailable the engine that was asked for cannot work here
│   ├── LakeUnavailable   the catalog or the store cannot be reached or read
│   │   └── FileBroken    a file of a table is missing or damaged
│   └── QueryRefused      SQL that writes or reaches outside the lake
└── InvariantBroken       figures that must agree do not
    └── HistoryGone       commits that a table had yet to follow are gone

Those marked * can be retried: the class attribute ``retryable`` says so, nothing else decides it.
"""

from __future__ import annotations

from collections.abc import Iterable


class K2Error(Exception):
    """Root of all errors of K2. The message names the thing, the value found and the next step."""

    retryable = False


class UsageError(K2Error):
    """A request that cannot be carried out as it was made."""


class UnknownName(UsageError):
    """A name that is not among the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"unknown {kind} {name!r}. Known: {', '.join(self.known)}.")


class NotAcceptable(UsageError):
    """An answer was asked for in a format that there is not."""


class TooLarge(UsageError):
    """A request whose answer would take more rows, bytes or time than one may."""


class HomeInUse(UsageError):
    """Another process holds the lock of this home."""


class FeedError(K2Error):
    """Something between the exchange and Kafka failed."""


class Disconnected(FeedError):
    """The connection to the exchange ended."""

    retryable = True


class SubscriptionRefused(FeedError):
    """The exchange refused a subscription."""


class ExchangeUnavailable(FeedError):
    """The exchange's REST interface did not answer, or asked to be left alone for long."""

    retryable = True


class RequestRefused(FeedError):
    """The exchange refused a request; asking again would not help."""


class LogError(K2Error):
    """Kafka could not do what was asked."""


class BrokerUnavailable(LogError):
    """No broker answered in time."""

    retryable = True


class TopicMissing(LogError):
    """A topic that was to be written or read does not exist."""

    retryable = True


class OffsetHole(LogError):
    """Offsets that a table still needs are no longer in the topic."""


class OffsetBeyondEnd(LogError):
    """A table holds offsets that the topic has not reached."""


class RegistryError(K2Error):
    """The Schema Registry could not do what was asked."""


class RegistryUnavailable(RegistryError):
    """The Schema Registry did not answer in time."""

    retryable = True


class SchemaRefused(RegistryError):
    """A record has changed such that its new schema cannot read what its topic holds."""


class LakeError(K2Error):
    """A table could not be read or written."""


class CommitConflict(LakeError):
    """Another writer committed first."""

    retryable = True


class SchemaMismatch(LakeError):
    """A table's columns are not those of its record."""


class DayRetired(LakeError):
    """A day was to be computed anew from a source that no longer holds it."""


class ReplacementRefused(LakeError):
    """A day was to be replaced by less than it holds."""


class EngineUnavailable(LakeError):
    """An engine lacks a part of itself here, cannot be reached, or does not calculate exactly."""


class LakeUnavailable(LakeError):
    """The catalog or the store cannot be reached, or a file of a table cannot be read."""


class FileBroken(LakeUnavailable):
    """A file of a table is missing, damaged or cut short."""


class QueryRefused(LakeError):
    """SQL that would write, or reach outside the lake, or that is not one statement."""


class InvariantBroken(K2Error):
    """Figures that must agree do not: a bug or damaged data, never something to skip."""


class HistoryGone(InvariantBroken):
    """Commits that a table made from another had yet to follow are no longer known."""
