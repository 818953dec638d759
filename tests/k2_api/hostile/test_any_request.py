"""Thousands of requests made from the OpenAPI document: each is answered as the document says.

Schemathesis makes them, valid and not, one by one and in chains of links (cases.toml says how), and
holds each answer against the document: status, media type, headers, schema.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi.schemas import OpenApiSchema

from k2_api.app import create_app
from tests.k2_api.lake_of_trades import TradeLake
from tests.keyed import FAST, fast_key

CONFIG = Path(__file__).with_name("cases.toml")
CASES, BOUNDARIES = 5_000, 100
# Shorter texts than any cursor are left out of most questions: none of them gets further.
SHORTEST_CURSOR = 24


@pytest.fixture(scope="module")
def document(lake: TradeLake) -> Iterator[OpenApiSchema]:
    config = SchemathesisConfig.from_path(CONFIG)
    app = create_app(lake.settings)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    schema.config.headers = {"X-API-Key": fast_key(lake.settings)}
    schema.config.generation.update(max_examples=_each(schema))
    schema.hook("map_query")(_mostly_without_cursor)
    # Whether a key is needed is asked more often than an address may in a minute.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("k2_api.guard.guard.FAILED_RATE", FAST)
        yield schema
    shutdown_lifespans()


def _each(schema: OpenApiSchema) -> int:
    """How many requests to make of an operation, beside about a hundred that try its boundaries."""
    asked = [o.ok() for o in schema.get_all_operations()]
    return max(CASES // sum(any(o.iter_parameters()) for o in asked) - BOUNDARIES, 30)


def _mostly_without_cursor(_: object, query: dict[str, Any] | None) -> dict[str, Any] | None:
    if query and len(str(query.get("cursor", ""))) < SHORTEST_CURSOR:
        query.pop("cursor", None)
    return query


@pytest.mark.timeout(900)
def test_every_answer_is_as_the_document_says(document: OpenApiSchema) -> None:
    cases: Counter[str] = Counter()
    well: Counter[str] = Counter()
    wrong: list[str] = []
    for event in from_schema(document).execute():
        if isinstance(event, events.ScenarioFinished):
            cases[event.phase.value] += len(event.recorder.cases)
            well.update(_answered_well(event.recorder))
            wrong += _failures(event.recorder)
        elif isinstance(event, events.NonFatalError):
            wrong.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    print(dict(cases), well.total())
    assert not wrong, "\n\n".join(
        [f"{len(wrong)} answers are wrong; the first of them:", *wrong[:5]]
    )
    assert sum(cases.values()) >= CASES, cases
    assert cases["stateful"] >= CASES / 50, cases
    # Which of them are good is chance; were it none of an operation, little was tried of it.
    assert well.total() >= CASES / 20, well
    operations = {o.ok().label for o in document.get_all_operations()}
    assert len(well) >= 0.9 * len(operations), operations - set(well)


def _answered_well(recorder: ScenarioRecorder) -> Iterator[str]:
    for id_, interaction in recorder.interactions.items():
        if interaction.response is not None and interaction.response.status_code < 300:
            yield recorder.cases[id_].value.operation.label


def _failures(recorder: ScenarioRecorder) -> Iterator[str]:
    for checks in recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                sent = check.failure_info.code_sample
                yield f"{recorder.label}: {check.name}: {failure.message[:1000]}\n{sent[:1000]}"
