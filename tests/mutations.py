"""Frames gone wrong in every way that a network, an exchange or a bug can make them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

_PIECES = (
    b"", b"0", b"-", b"e", b".", b'"', b"'", b"\\", b"\\u", b"\\ud800", b",", b":", b"{", b"}",
    b"[", b"]", b"{}", b"[]", b"null", b"true", b"NaN", b"1e999", b"9" * 25, b"-1", b"\n", b"\r",
    b"\0", b"\xff", b"\xf0\x9f", "é".encode(), b'"e":"trade"', b'"channel":"trade"', b'"data":',
)  # fmt: skip
_VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**40, 0.1, 1e300,
    -0.0, "", " ", "0", "-1", "NaN", "Infinity", "1e5", "1e-30", "9" * 30, "0." + "1" * 30, "x",
    "é\u0000", "\ud800", "2024-08-08", "2024-08-08T00:00:00Z", "9999-12-31T23:59:59.999999Z", "1",
    [], {}, [[]], [None], {"": ""}, [{}], "trade", "match", "buy", "BTCUSDT", "BTC/USD", "BTC-USD",
    1723161255342, 1723161255342000, 253402300800000000,
)  # fmt: skip


def mutated(random: Random, corpus: Sequence[bytes]) -> bytes:
    """One frame of the corpus, changed in a few places; sometimes it is left as it was."""
    payload = random.choice(corpus)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        payload = random.choice(_CHANGES)(random, payload, corpus)
    return payload


def _cut(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    return payload[: random.randint(0, len(payload))]


def _piece(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    start = random.randint(0, len(payload))
    return payload[:start] + random.choice(_PIECES) + payload[start + random.randint(0, 12) :]


def _byte(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    if not payload:
        return payload
    at = random.randrange(len(payload))
    return payload[:at] + bytes([random.randrange(256)]) + payload[at + 1 :]


def _doubled(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    start = random.randint(0, len(payload))
    end = random.randint(start, min(len(payload), start + 40))
    return payload[:end] + payload[start:]


def _spliced(random: Random, payload: bytes, corpus: Sequence[bytes]) -> bytes:
    other = random.choice(corpus)
    return payload[: random.randint(0, len(payload))] + other[random.randint(0, len(other)) :]


def _noise(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    return random.randbytes(random.randint(0, 60))


def _nested(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    opened, closed = random.choice(((b"[", b"]"), (b'{"data":', b"}")))
    depth = random.choice((1, 2, 50))
    return opened * depth + payload + closed * random.choice((depth, depth - 1))


def _document(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    """A value or a name somewhere within, where it is JSON."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return payload
    places = list(_places(message))
    if not places:
        return payload
    container, name = random.choice(places)
    if isinstance(container, dict) and random.random() < 0.25:
        container[random.choice(("", "x", name + "_", name.upper()))] = container.pop(name)
    elif random.random() < 0.2:
        del container[name]
    else:
        container[name] = random.choice(_VALUES)
    return json.dumps(message, separators=(",", ":")).encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    if isinstance(value, dict):
        inner = list(value.items())
    else:
        inner = list(enumerate(value)) if isinstance(value, list) else []
    return [(value, name) for name, _ in inner] + [p for _, v in inner for p in _places(v)]


_CHANGES: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _cut, _piece, _piece, _byte, _doubled, _spliced, _noise, _nested,
    *(6 * (_document,)),
)  # fmt: skip
