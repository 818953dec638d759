"""Several questions about candles, answered from one state of each table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from k2_api.questions.candles import CandleParameters, CandleQuestion
from k2_api.reading.asked import Asked
from k2_api.reading.candle_reader import CandleReader
from k2_api.reading.queries import Page
from k2_market.errors import K2Error, LakeUnavailable

# A table changes every few seconds at most, and a batch takes less.
ATTEMPTS = 5


@dataclass(frozen=True)
class Answered:
    """A question and its page."""

    said: CandleParameters
    asked: Asked
    page: Page


@dataclass(frozen=True)
class Batch:
    """By question, the page or what stood in its way; and the state of each table."""

    items: Sequence[Answered | K2Error]
    snapshots: Mapping[str, int | None]


def answered(candles: CandleReader, questions: Sequence[CandleQuestion]) -> Batch:
    """The answers, in the order of the questions.

    Pages of one table and of no state in particular are all of one snapshot. Raises LakeUnavailable
    where the tables never stood still for long enough.
    """
    for _ in range(ATTEMPTS):
        items = [_answer(candles, question) for question in questions]
        states = _states(items)
        if all(len(found) == 1 for found in states.values()):
            return Batch(items, {table: next(iter(found)) for table, found in states.items()})
    raise LakeUnavailable("the tables changed while the questions were answered. Ask again.")


def _answer(candles: CandleReader, question: CandleQuestion) -> Answered | K2Error:
    said = question.parameters
    try:
        return Answered(said, *candles.page(question.timeframe, said))
    except K2Error as error:
        return error


def _states(items: Sequence[Answered | K2Error]) -> dict[str, set[int | None]]:
    states: dict[str, set[int | None]] = {}
    for item in items:
        if isinstance(item, Answered) and item.said.as_of is None:
            table = item.asked.dataset.table
            states.setdefault(table, set()).add(item.page.snapshot_id)
    return states
