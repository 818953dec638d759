"""Why a frame cannot be read, in the words of the table of rejected frames.

Reasons: ``malformed_json``, ``unknown_frame``, ``missing_field``, ``wrong_type``, ``out_of_range``
and ``wrong_value``. The detail names the field and the value found, cut after 200 characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from k2_feeds.adapter import WIRE_ERRORS, Channel, Fault, Reading, Route
from k2_market.kinds import Kind

WHOLE_FRAME = -1

_REASONS = (
    (re.compile(r"Object missing required field"), "missing_field"),
    (re.compile(r"Expected `[^`]*` [<>]"), "out_of_range"),
    (re.compile(r"Expected "), "wrong_type"),
)
_PLACE = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_ABSENT = object()

# Any JSON document. Decimal numbers stay text: as floats, large ones would be refused.
read_json = msgspec.json.Decoder(float_hook=str).decode


def read_object(payload: bytes) -> dict[str, Any]:
    """The JSON object that these bytes are, empty if they are anything else. Never raises."""
    try:
        message = read_json(payload)
    except WIRE_ERRORS:
        return {}
    return message if isinstance(message, dict) else {}


def shown(value: object) -> str:
    """A value as it may stand in a detail: its ``repr``, at most 200 characters of it."""
    text = repr(value[:201]) if isinstance(value, str | bytes | list) else repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def malformed(error: BaseException) -> Reading:
    """The reading of bytes that are no JSON document, or one nested too deeply to read."""
    fault = Fault(WHOLE_FRAME, "malformed_json", shown(str(error)))
    return Reading(Channel.UNKNOWN, faults=[fault])


def unknown(message: Any) -> Reading:
    """The reading of a JSON document that the exchange is not known to send."""
    what = f"an object with the keys {shown(list(message))}" if isinstance(message, dict) else ""
    detail = f"no message of this exchange: {what or shown(message)}"
    return Reading(Channel.UNKNOWN, faults=[Fault(WHOLE_FRAME, "unknown_frame", detail)])


def routed(payload: bytes, route: Callable[[Any], Route]) -> Route:
    """The route of a frame that must be decoded to tell; UNKNOWN for bytes that cannot be."""
    try:
        return route(read_json(payload))
    except WIRE_ERRORS:
        return Route(Channel.UNKNOWN)


def reading_of(
    payload: bytes, kind: Kind, route: Callable[[Any], Route], read: Callable[[Any], Reading]
) -> Reading:
    """A frame of another channel as that, one of this kind as ``read`` reads it, else a fault.

    ``route`` and ``read`` take the decoded message.
    """
    try:
        message = read_json(payload)
    except WIRE_ERRORS as error:
        return malformed(error)
    channel = route(message).channel
    if channel is Channel.UNKNOWN:
        return unknown(message)
    return read(message) if channel is Channel(kind) else Reading(channel)


def one_row(payload: bytes, kind: Kind, decode: Callable[[bytes], Any]) -> Reading:
    """The reading of a frame of this kind that is one row: the row, or the fault of the frame."""
    try:
        return Reading(Channel(kind), rows=[(0, decode(payload))])
    except WIRE_ERRORS as error:
        return Reading(Channel(kind), faults=[fault(error, payload, WHOLE_FRAME)])


def fault(error: BaseException, document: bytes | msgspec.Raw, frame_index: int) -> Fault:
    """The fault of a JSON document whose typed decoding raised ``error``."""
    if not isinstance(error, msgspec.ValidationError):
        return Fault(frame_index, "malformed_json", shown(str(error)))
    text, _, place = str(error).partition(" - at `$")
    reason = next((name for known, name in _REASONS if known.match(text)), "wrong_value")
    found = _find(document, place)
    value = "" if reason == "missing_field" or found is _ABSENT else f", found {shown(found)}"
    return Fault(frame_index, reason, f"{text} at ${place.rstrip('`')}{value}")


def _find(document: bytes | msgspec.Raw, place: str) -> Any:
    try:
        found = read_json(document)
        for name, position in _PLACE.findall(place.rstrip("`")):
            found = found[int(position) if position else name]
    except (*WIRE_ERRORS, LookupError, TypeError):
        return _ABSENT
    return found
