"""Blocking checks: the Pandera schemas and the counts that must agree, table by table.

A tick checks the rows that it added, for the rest was checked when it came; any other run checks
its whole day.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import dagster as dg
import pandera.polars as pandera
import polars as pl
import pyarrow as pa
from dagster_duckdb import DuckDBResource
from pandera.errors import SchemaErrors

from k2_assets.days import DAYS
from k2_assets.ranges import days_of, failure, tried
from k2_assets.resources import LakeResource, engine_for
from k2_assets.tables import MODE_TAG, TICK, asset_key
from k2_lake.catalog import Lake
from k2_lake.engine import Engine
from k2_lake.quality.audit import (
    gold_reconciled,
    offsets_contiguous,
    offsets_recorded,
    silver_reconciled,
)
from k2_lake.quality.candle_audit import minutes_reconciled, rollup_reconciled
from k2_lake.scope import Scope, Verdict
from k2_lake.tables import bronze_name, candle_name, gold_name, silver_name
from k2_market.candle_rules import candle_schema
from k2_market.exchanges import EXCHANGES
from k2_market.kind_rules import RULES
from k2_market.kinds import Kind
from k2_market.timeframes import TIMEFRAMES

SHOWN = 20

Audit = Callable[[Lake, Engine, Scope], Verdict]


@dataclass(frozen=True)
class Check:
    """A named audit with one sentence that says what passing means."""

    name: str
    sentence: str
    audit: Audit


def check_step(table: str) -> str:
    """The name of the step that runs a table's checks."""
    return f"check_{table.replace('.', '_')}"


def table_checks(table: str, checks: Iterable[Check]) -> dg.AssetChecksDefinition:
    """One step that runs all checks of a table, each blocking what is downstream in the run."""
    by_name = {c.name: c for c in checks}
    specs = [_spec(table, c) for c in by_name.values()]

    @dg.multi_asset_check(name=check_step(table), specs=specs)
    def run(
        context: dg.AssetCheckExecutionContext, lake: LakeResource, duckdb: DuckDBResource
    ) -> Iterable[dg.AssetCheckResult | dg.AssetCheckEvaluation | dg.Output[None]]:
        opened = lake.open()
        engine = engine_for(opened, duckdb)

        def of_day(day: date) -> Iterator[tuple[str, Verdict]]:
            scope = _scope(context, table, day)
            for name, check in by_name.items():
                yield name, check.audit(opened, engine, scope)

        # Checks that are started alone, from the asset's page, may come without a day.
        days = days_of(context.run.tags) or [datetime.now(UTC).date()]
        if len(days) > 1:
            yield from _of_range(table, days, lambda day: dict(of_day(day)))
            yield from (dg.Output(None, spec.get_python_identifier()) for spec in specs)
            return
        for name, verdict in of_day(days[0]):
            yield dg.AssetCheckResult(
                passed=verdict.agrees,
                check_name=name,
                asset_key=asset_key(table),
                metadata=_metadata(days[0], verdict),
            )

    return run


def _of_range(
    table: str, days: list[date], of_day: Callable[[date], Mapping[str, Verdict]]
) -> Iterator[dg.AssetCheckEvaluation]:
    """The verdicts on each day of one run: what tells of one day alone cannot name which."""
    done, failed = tried(days, of_day)
    for day, verdicts in done.items():
        for name, verdict in verdicts.items():
            yield dg.AssetCheckEvaluation(
                passed=verdict.agrees,
                check_name=name,
                asset_key=asset_key(table),
                metadata=_metadata(day, verdict),
                blocking=True,
                partition=day.isoformat(),
            )
    if failed:
        raise failure(failed, len(days))


def _metadata(day: date, verdict: Verdict) -> dict[str, int | str]:
    return {"day": day.isoformat(), **verdict.figures}


def _spec(table: str, check: Check) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        # Checks by day are a preview in Dagster 1.13; without them a day's page shows no verdict.
        warnings.filterwarnings(
            "ignore", "Specifying a partitions_def on an AssetCheckSpec", dg.PreviewWarning
        )
        return dg.AssetCheckSpec(
            check.name,
            asset=asset_key(table),
            description=check.sentence,
            blocking=True,
            partitions_def=DAYS,
        )


def conforms(schema: pandera.DataFrameSchema, lake: Lake, engine: Engine, scope: Scope) -> Verdict:
    """Whether every row in scope meets a Pandera schema; the failures that were found first."""
    rows, broken = 0, []
    for piece in scope.rows(lake, engine):
        rows += piece.num_rows
        broken += failures(schema, piece)
    figures: Mapping[str, int | str] = {"rows": rows, "failures": len(broken)}
    if broken:
        figures = {**figures, "first_failures": "\n".join(broken[:SHOWN])}
    return Verdict(not broken, figures)


def failures(schema: pandera.DataFrameSchema, rows: pa.Table) -> list[str]:
    """What of these rows a schema does not allow: check, row and value."""
    try:
        schema.validate(pl.DataFrame(rows), lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases.select("check", "index", "failure_case")
        return [f"{check}, row {index}: {value}" for check, index, value in cases.iter_rows()]
    return []


def _scope(context: dg.AssetCheckExecutionContext, table: str, day: date) -> Scope:
    if context.run.tags.get(MODE_TAG) != TICK:
        return Scope(table, day, None)
    event = context.instance.get_latest_materialization_event(asset_key(table))
    known: Mapping[str, Any] = (
        event.asset_materialization.metadata if event and event.asset_materialization else {}
    )
    return Scope(table, day, known["sequence_before"].value if "sequence_before" in known else None)


def _rows_check(kind: Kind) -> Check:
    return Check("rules", _RULES[kind], partial(conforms, RULES[kind].schema))


_RULES = {
    Kind.TRADES: "Types, nulls and the named rules of a trade: price and quantity above zero, "
    "times, sides.",
    Kind.QUOTES: "Types, nulls and the named rules of a quote: bid below ask unless flagged, "
    "quantities above zero, times.",
}


def _bronze(exchange: str, kind: Kind) -> dg.AssetChecksDefinition:
    return table_checks(
        bronze_name(exchange, kind),
        [
            Check("offsets_contiguous", "No Kafka offset is missing or twice.", offsets_contiguous),
            Check(
                "offsets_recorded", "Recorded offsets span the rows they carry.", offsets_recorded
            ),
        ],
    )


def _silver(exchange: str, kind: Kind) -> dg.AssetChecksDefinition:
    told = f"Frames of bronze = frames told, {kind} told = rows; no row twice or from nowhere."
    reconciled = partial(silver_reconciled, exchange=exchange, kind=kind)
    return table_checks(
        silver_name(exchange, kind), [_rows_check(kind), Check("reconciled", told, reconciled)]
    )


def _gold(kind: Kind) -> dg.AssetChecksDefinition:
    counted = f"Silver rows = gold rows + duplicates; no {kind.record.name.lower()} twice."
    reconciled = partial(gold_reconciled, kind=kind)
    return table_checks(
        gold_name(kind), [_rows_check(kind), Check("reconciled", counted, reconciled)]
    )


def _candles(name: str) -> dg.AssetChecksDefinition:
    def rules(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
        # A day of candles is small: a tick too checks all of it.
        return conforms(candle_schema(name), lake, engine, replace(scope, since=None))

    def rollup(lake: Lake, engine: Engine, scope: Scope) -> Verdict:
        return rollup_reconciled(lake, engine, scope.day, name)

    order = "low <= open, close, vwap <= high; aligned, unique, positive."
    reconciled = (
        Check("reconciled", "Sums equal those of the eligible trades.", minutes_reconciled)
        if TIMEFRAMES[name].source is None
        else Check("reconciled", "Every candle equals what the day's 1m candles make.", rollup)
    )
    return table_checks(candle_name(name), [Check("rules", order, rules), reconciled])


CHECKS = [
    *(_bronze(exchange, kind) for kind in Kind for exchange in EXCHANGES),
    *(_silver(exchange, kind) for kind in Kind for exchange in EXCHANGES),
    *(_gold(kind) for kind in Kind),
    *(_candles(name) for name in TIMEFRAMES),
]
