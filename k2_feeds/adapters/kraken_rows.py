"""What all channels of Kraken's v2 share: frames of several rows, each read for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from k2_feeds.adapter import WIRE_ERRORS, Channel, Reading, Route
from k2_feeds.parsing.faults import WHOLE_FRAME, fault, reading_of
from k2_market.kinds import Kind

Decode = Callable[[bytes | msgspec.Raw], Any]


def every_row(decoded: Sequence[Any]) -> tuple[list[int], list[int], list[Any]]:
    """The ``rows`` of a parser: all the ``data`` of every frame."""
    frame = [i for i, f in enumerate(decoded) for _ in f.data]
    index = [j for f in decoded for j in range(len(f.data))]
    return frame, index, [row for f in decoded for row in f.data]


def rereading(
    kind: Kind, route: Callable[[Any], Route], envelope: Decode, row: Decode
) -> Callable[[bytes], Reading]:
    """The ``reread`` of a parser: the good and the bad rows of a frame, or what else it is.

    ``envelope`` decodes a frame of the kind without looking at its rows, ``row`` one of them.
    """

    def reread(payload: bytes) -> Reading:
        try:
            data = envelope(payload).data
        except WIRE_ERRORS as error:
            refusal = Reading(Channel(kind), faults=[fault(error, payload, WHOLE_FRAME)])
            return reading_of(payload, kind, route, lambda _: refusal)
        reading = Reading(Channel(kind))
        for index, raw in enumerate(data):
            _read_row(row, raw, index, reading)
        return reading

    return reread


def _read_row(row: Decode, raw: msgspec.Raw, index: int, reading: Reading) -> None:
    try:
        reading.rows.append((index, row(raw)))
    except WIRE_ERRORS as error:
        reading.faults.append(fault(error, raw, index))
