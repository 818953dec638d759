"""How the live feeds of a home stand: what they say of themselves, and what waits on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from k2_feeds.kafka.undelivered import FOLDER, DeadLetters
from k2_market.findings import Finding, State

FEEDS, UNDELIVERED = "feeds", "undelivered"
# Written every two seconds while feeds run.
_SILENT_S = 30


def feed_findings(home: Path) -> Iterator[Finding]:
    """What is found of the feeds, and of frames that Kafka has not got."""
    yield from _states(home / "feeds.json")
    spool = sorted((home / FOLDER / "spool").glob("*/*.frame"))
    if spool:
        size = sum(path.stat().st_size for path in spool)
        told = f"{size:,} bytes of frames that a feed could not deliver; the "
        told += "next one delivers them first"
        mend = f"k2 feed --home {home}"
        yield Finding(UNDELIVERED, "spool", State.WARNING, told, mend)
    if letters := DeadLetters(home).ids():
        told = f"frames that Kafka refused: {len(letters)}"
        yield Finding(UNDELIVERED, "letters", State.WARNING, told, f"k2 dlq list --home {home}")


def _states(path: Path) -> Iterator[Finding]:
    try:
        feeds: Mapping[str, Mapping[str, Any]] = msgspec.json.decode(path.read_bytes())
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        yield Finding(FEEDS, "feeds", State.OK, "none has run here")
        return
    except (OSError, msgspec.DecodeError) as error:
        mend = "remove it: a running feed writes it anew"
        yield Finding(FEEDS, "feeds", State.WARNING, f"{path} cannot be read: {error}", mend)
        return
    for name, state in feeds.items():
        yield _state(name, state, stopped_s=age if age > _SILENT_S else None)


def _state(name: str, state: Mapping[str, Any], stopped_s: float | None) -> Finding:
    mend = f"k2 feed --exchange {name.split()[0]}, once that is mended"
    if state.get("failure"):
        return Finding(FEEDS, name, State.WRONG, f"has ended: {state['failure']}", mend)
    frames = f"{state.get('frames', 0):,} frames"
    if stopped_s is not None:
        return Finding(FEEDS, name, State.OK, f"stopped {stopped_s:,.0f} s ago after {frames}")
    trouble = state.get("trouble") or (None if state.get("connected") else state.get("last_error"))
    if trouble:
        told = f"{trouble} ({state.get('queued', 0):,} frames wait)"
        return Finding(FEEDS, name, State.WARNING, told, "none is needed: it goes on trying")
    return Finding(FEEDS, name, State.OK, f"connected, {frames}")
