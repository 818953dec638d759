"""The asset of what exchanges list: each partition is an exchange, refreshed over its REST API."""

import os
from collections.abc import Iterable
from datetime import UTC, datetime

import dagster as dg

from k2_assets.checks import SHOWN, failures
from k2_assets.resources import LakeResource
from k2_assets.tables import Result, asset_key, in_process_job, table_asset
from k2_feeds.listings import LISTINGS
from k2_feeds.live.tls import from_environment as tls_from_environment
from k2_feeds.rest import RestClient
from k2_lake.catalog import Lake
from k2_lake.instruments import refresh, rows
from k2_lake.results import StepResult
from k2_lake.tables import INSTRUMENTS_TABLE
from k2_market.instrument_rules import INSTRUMENT_SCHEMA, ambiguous_names

# Where the exchanges' REST interfaces are asked instead, as of a simulator; unset means themselves.
REST_ENDPOINT = "K2_REST_ENDPOINT"
# Beside gold: what exchanges are asked for is no part of a day's chain.
GROUP = "reference"
LISTED = dg.StaticPartitionsDefinition(list(LISTINGS))


def refresh_exchange(lake: Lake, exchange: str) -> tuple[StepResult, dict[str, str]]:
    """Ask an exchange for its list and keep it; also what could not be read, with the reasons.

    Raises FeedError where it does not answer or the answer is no list: nothing is changed then.
    """
    listing, asked_at = LISTINGS[exchange], datetime.now(UTC)
    endpoint = os.environ.get(REST_ENDPOINT, "").strip() or None
    with RestClient(exchange, endpoint, trust=tls_from_environment(os.environ)) as client:
        listed = listing.read(client.get(listing.path, weight=listing.weight))
    result = refresh(lake, exchange, listed.instruments, asked_at)
    return result, dict(listed.unreadable)


@table_asset(INSTRUMENTS_TABLE, kinds={"rest"}, partitions=LISTED, group=GROUP)
def instruments(context: dg.AssetExecutionContext, lake: LakeResource) -> Result:
    """Changed terms close a version and open another; what did not change is left alone."""
    result, unreadable = refresh_exchange(lake.open(), context.partition_key)
    return dg.MaterializeResult(
        metadata={
            "rows": result.figures["current"],
            "snapshot_id": "none" if result.snapshot_id is None else str(result.snapshot_id),
            "changed": result.changed,
            **result.figures,
            "unreadable": len(unreadable),
            "first_unreadable": dg.MetadataValue.json(dict(list(unreadable.items())[:SHOWN])),
        }
    )


@dg.multi_asset_check(
    name="check_gold_instruments",
    specs=[
        dg.AssetCheckSpec(name, asset=asset_key(INSTRUMENTS_TABLE), description=text, blocking=True)
        for name, text in (
            ("rules", "Tick and lot above zero; versions follow one another, one is current."),
            ("names", "No name means two current instruments of one exchange."),
        )
    ],
)
def check_instruments(lake: LakeResource) -> Iterable[dg.AssetCheckResult]:
    """All exchanges at once: the table is small."""
    found = rows(lake.open())
    for name, broken in (
        ("rules", failures(INSTRUMENT_SCHEMA, found)),
        ("names", ambiguous_names(found)),
    ):
        yield dg.AssetCheckResult(
            passed=not broken,
            check_name=name,
            asset_key=asset_key(INSTRUMENTS_TABLE),
            metadata={"rows": found.num_rows, "failures": "\n".join(broken[:SHOWN]) or "none"},
        )


REFRESH = in_process_job(
    "instruments",
    dg.AssetSelection.assets(asset_key(INSTRUMENTS_TABLE)),
    "What an exchange lists now, into gold.instruments.",
)
ASSETS = [instruments]
CHECKS = [check_instruments]
