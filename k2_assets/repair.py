"""Repair: trades that are missing are asked of the exchanges' REST histories and handed to Kafka.

From there they go the way of all frames, with origin ``archive``; a trade that is there already is
not added again, so a repair may be repeated.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_assets.instruments import REST_ENDPOINT
from k2_assets.landing import await_bronze
from k2_assets.pacing import backlog
from k2_assets.resources import KafkaResource, LakeResource, engine_for
from k2_feeds.adapters import adapter
from k2_feeds.histories import Recovery, headers
from k2_feeds.histories.history import Wanted
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.frame import Origin
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.live.tls import from_environment as tls_from_environment
from k2_feeds.rest import RestClient
from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.quality.gap_ledger import Cause, Gap, State
from k2_lake.quality.gaps import give_up, recorded_gaps
from k2_market.errors import FeedError
from k2_market.kinds import Kind

_BATCH = 1_000


@dataclass(frozen=True)
class Selection:
    """Which open gaps to repair: all, or those that meet what is given.

    ``start`` and ``end`` are trade days, inclusive. ``unrecorded``: also those between recordings;
    ``again``: also those that were given up.
    """

    exchange: str | None = None
    symbol: str | None = None
    start: date | None = None
    end: date | None = None
    unrecorded: bool = False
    again: bool = False

    def takes(self, gap: Gap) -> bool:
        """Whether this gap is meant."""
        return (
            (gap.state == State.OPEN or (self.again and gap.state == State.UNREPAIRABLE))
            and (self.unrecorded or gap.cause != Cause.UNRECORDED)
            and self.exchange in (None, gap.exchange)
            and self.symbol in (None, gap.symbol)
            and (self.start is None or gap.gap_date >= self.start)
            and (self.end is None or gap.gap_date <= self.end)
        )


@dataclass
class Repairs:
    """What came of repairing gaps: trades found, and why others were not, by gap."""

    found: dict[Gap, int] = field(default_factory=dict)
    reasons: dict[Gap, str] = field(default_factory=dict)
    failed: dict[Gap, str] = field(default_factory=dict)

    @property
    def hopeless(self) -> dict[Gap, str]:
        """Gaps of which the history had not one trade, with the reason."""
        return {gap: why for gap, why in self.reasons.items() if not self.found[gap]}

    def repair(self, exchange: str, gaps: Sequence[Gap], producer: FrameProducer) -> Iterator[int]:
        """Hand the missing trades of gaps of one exchange to Kafka; batch by batch how many.

        An exchange that does not answer, or refuses, leaves the gap as it is: see ``failed``.
        """
        endpoint = os.environ.get(REST_ENDPOINT, "").strip() or None
        more = headers(exchange, os.environ)
        trust = tls_from_environment(os.environ)
        with RestClient(exchange, endpoint, headers=more, trust=trust) as client:
            for gap in gaps:
                recovery = _recovery(client, gap, with_key=bool(more))
                frames = recovery.frames()
                try:
                    while batch := list(islice(frames, _BATCH)):
                        yield producer.send_many(batch, Origin.ARCHIVE)
                except FeedError as error:
                    self.failed[gap] = str(error)
                self.found[gap] = recovery.found
                if gap not in self.failed and recovery.reason:
                    self.reasons[gap] = recovery.reason


def selected(lake: Lake, engine: Engine, selection: Selection) -> dict[str, list[Gap]]:
    """The gaps that are meant, by exchange, in order of their ids."""
    found: dict[str, list[Gap]] = {}
    for gap in recorded_gaps(lake, engine):
        if selection.takes(gap):
            found.setdefault(gap.exchange, []).append(gap)
    return found


def repair_running(
    lake: Lake, kafka: KafkaSettings, gaps: Mapping[str, Sequence[Gap]], repairs: Repairs
) -> Iterable[int]:
    """Repair where sensors bring what is in Kafka to the tables; batch by batch how many."""
    for exchange, of_exchange in gaps.items():
        pace = backlog(lake, kafka, exchange, Kind.TRADES)
        with FrameProducer(kafka, exchange, Kind.TRADES, backlog=pace) as producer:
            yield from repairs.repair(exchange, of_exchange, producer)
        if pace is not None:
            await_bronze(pace)


def _recovery(client: RestClient, gap: Gap, *, with_key: bool) -> Recovery:
    name = adapter(gap.exchange).exchange_symbol(gap.symbol)
    wanted = Wanted(name, gap.first_missing_id, gap.last_missing_id, gap.before_at, gap.after_at)
    return Recovery(client, wanted, with_key=with_key, received_at_us=time.time_ns() // 1000)


@dg.op(description="Asks the exchanges for the trades of open gaps and hands them to Kafka.")
def repair_gaps(
    context: dg.OpExecutionContext, lake: LakeResource, kafka: KafkaResource, duckdb: DuckDBResource
) -> None:
    """All open gaps but those between recordings; a tick then brings the trades to the tables."""
    opened = lake.open()
    engine = engine_for(opened, duckdb)
    repairs = Repairs()
    gaps = selected(opened, engine, Selection())
    frames = sum(repair_running(opened, kafka.settings(), gaps, repairs))
    given_up = give_up(opened, engine, repairs.hopeless)
    for gap, why in repairs.failed.items():
        context.log.warning("%s %s: %s", gap.exchange, gap.symbol, why)
    context.add_output_metadata(
        {
            "gaps": sum(map(len, gaps.values())),
            "trades": sum(repairs.found.values()),
            "frames": frames,
            "unrepairable": given_up,
            "failed": len(repairs.failed),
        }
    )


REPAIR = dg.GraphDefinition(
    name="repair",
    node_defs=[repair_gaps],
    description="Missing trades from the exchanges' REST histories into Kafka.",
).to_job(executor_def=dg.in_process_executor)
