"""What is asked of the rows of instruments: a name in any spelling, the terms of an instant."""

from __future__ import annotations

from datetime import datetime

from k2_api.questions.parameters import InstrumentParameters
from k2_market.instants import instant
from k2_market.instruments import canonical_symbol

_NAMED = "(symbol = $symbol or list_contains(list_transform(names, lambda n: upper(n)), $name))"
_NOW = "valid_to is null"
_THEN = "valid_from <= $at and (valid_to is null or $at < valid_to)"


def instrument_conditions(
    said: InstrumentParameters,
) -> tuple[list[str], dict[str, object], datetime | None]:
    """Conditions, the values of their parameters, and the instant asked for. Raises UsageError."""
    at = None if said.at is None else instant("at", said.at)
    conditions = [_NOW if at is None else _THEN]
    values: dict[str, object] = {} if at is None else {"at": at}
    if said.symbol is not None:
        conditions.append(_NAMED)
        values |= {"symbol": canonical_symbol(said.symbol), "name": said.symbol.upper()}
    return conditions, values, at
