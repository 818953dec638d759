"""How far behind the tables are, measured beside the ticks, so that it shows when none comes."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from k2_assets.resources import KafkaResource, LakeResource
from k2_assets.tables import asset_key
from k2_feeds.kafka.cluster import KafkaSettings
from k2_feeds.kafka.look import Held, TopicsLook
from k2_feeds.kafka.topics import raw_topic
from k2_lake.bronze import position
from k2_lake.catalog import Lake
from k2_lake.quality.freshness import SLO_S, Freshness, freshness
from k2_lake.tables import bronze_name
from k2_market.errors import K2Error
from k2_market.exchanges import EXCHANGES
from k2_market.kinds import Kind

FRESH = "fresh"


def measured(lake: Lake, kafka: KafkaSettings) -> list[Freshness]:
    """The lag of every table behind its feed. Raises BrokerUnavailable, LakeUnavailable."""
    names = {raw_topic(kind, e): bronze_name(e, kind) for e in EXCHANGES for kind in Kind}
    held = {topic: _held(lake, name) for topic, name in names.items()}
    with TopicsLook(kafka) as look:
        since = look.waiting_since(held)
    return freshness(lake.existing, {names[t]: at for t, at in since.items()}, datetime.now(UTC))


def _held(lake: Lake, name: str) -> Held:
    table = lake.existing(name)
    at = None if table is None else position(table)
    return Held("", {}) if at is None else Held(at.cluster_id, at.offsets)


def evaluation(state: Freshness) -> dict[str, Any]:
    """What a check says of a table: its arguments."""
    return {
        "asset_key": asset_key(state.table),
        "check_name": FRESH,
        "passed": not state.late,
        "severity": dg.AssetCheckSeverity.WARN,
        "metadata": {
            "lag_seconds": round(state.lag_s, 1),
            "slo_seconds": state.slo_s,
            "waiting_since": "nothing waits"
            if state.waiting_since is None
            else state.waiting_since.isoformat(timespec="seconds"),
        },
    }


def _unknown(table: str, error: K2Error) -> dict[str, Any]:
    return {
        "asset_key": asset_key(table),
        "check_name": FRESH,
        "passed": False,
        "severity": dg.AssetCheckSeverity.WARN,
        "metadata": {"not_measured": str(error)},
    }


@dg.multi_asset_check(
    name="check_freshness",
    can_subset=True,
    specs=[
        dg.AssetCheckSpec(
            FRESH,
            asset=asset_key(table),
            description=f"Nothing that arrived has been waiting for more than {slo} s.",
        )
        for table, slo in SLO_S.items()
    ],
)
def check_freshness(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, kafka: KafkaResource
) -> Iterable[dg.AssetCheckResult]:
    """As the sensor ``freshness`` measures it, for whoever asks now."""
    try:
        states = {s.table: evaluation(s) for s in measured(lake.open(), kafka.settings())}
        told = [states[table] for table in SLO_S]
    except K2Error as error:
        # A run that makes tables needs no Kafka for that, and must not fail for this.
        told = [_unknown(table, error) for table in SLO_S]
    wanted = {key.asset_key for key in context.selected_asset_check_keys}
    for each in told:
        if each["asset_key"] in wanted:
            yield dg.AssetCheckResult(**each)


CHECKS = [check_freshness]
FRESH_CHECKS = dg.AssetSelection.checks(*(dg.AssetCheckKey(asset_key(t), FRESH) for t in SLO_S))
