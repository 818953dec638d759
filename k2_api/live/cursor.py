"""The cursor of a live stream: how far it was in each topic, as a text that the client hands back.

It is bound to what was subscribed to, and refused where it was altered or belongs elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from k2_api.questions.sealed import seal, unseal
from k2_market.errors import UsageError

# What places and instants can be: a forged cursor must not name what no query can.
_Number = Annotated[int, msgspec.Meta(ge=-1, le=2**55)]


class State(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What a stream has had of one topic.

    ``ahead`` is for streams of several symbols: those up to this one are at that further position.
    ``since`` is an instant in us since 1970 UTC: rows received before it are not wanted; of
    candles, the start of the first window that was not final.
    """

    reached: dict[_Number, tuple[_Number, _Number, _Number]]
    ahead: tuple[str, dict[_Number, tuple[_Number, _Number, _Number]]] | None = None
    since: _Number | None = None


def encode(states: Sequence[State], question: str) -> str:
    """The text form, bound to the question."""
    return seal(msgspec.json.encode(states), question)


def decode(text: str, question: str, topics: int) -> list[State]:
    """The inverse of ``encode``, of so many topics. Raises UsageError."""
    try:
        states = msgspec.json.decode(unseal(text, question) or b"", type=list[State])
    except msgspec.MsgspecError:
        states = []
    if len(states) != topics:
        raise UsageError(
            "cursor: this is not a cursor of this subscription. Send that of its last message "
            "unchanged, with the same channel, exchange and symbol; or leave it out to begin now."
        )
    return states
