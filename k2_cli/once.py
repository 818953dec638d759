"""Recorded frames through the whole chain, once: ``k2 demo --once``."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from k2_cli.chain import Done, Feeding, Progress, run_chain
from k2_feeds.adapter import Channel
from k2_feeds.adapters import adapter
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.live.router import FrameRouter
from k2_feeds.tapes import read_tape
from k2_market.kinds import Kind


def replay(
    home: Path, kind: Kind, tapes: Sequence[tuple[str, Path]], progress: Progress
) -> tuple[Done, dict[str, int]]:
    """Bring recorded frames of (exchange, file) through the chain of a kind in ``home``.

    Files of one exchange are one stream, in the order given. Also returns how many frames were
    read, by channel. Raises UsageError for a file or home that cannot be used, and what the chain
    raised where a step failed.
    """
    for _, path in tapes:
        read_tape(path, 0)
    channels: Counter[Channel] = Counter()
    feedings: dict[str, Feeding] = {
        exchange: _feeding(exchange, kind, [p for e, p in tapes if e == exchange], channels)
        for exchange in dict.fromkeys(e for e, _ in tapes)
    }
    done = run_chain(home, kind, feedings, "replaying", progress)
    by_channel = {f"frames: {channel}": count for channel, count in sorted(channels.items())}
    return done, {"frames": done.frames, **by_channel}


def _feeding(
    exchange: str, kind: Kind, paths: Sequence[Path], channels: Counter[Channel]
) -> Feeding:
    def feed(producer: FrameProducer) -> Iterable[int]:
        router = FrameRouter(adapter(exchange), kind, producer)
        for path in paths:
            for batch in _frames(path):
                router.send_many(batch)
                yield len(batch)
        channels.update(router.counts)

    return feed


def _frames(path: Path) -> Iterator[list[Frame]]:
    """The frames of a tape as its recorder received them: a connection id that its name gives."""
    clock_us = time.time_ns() // 1000
    digest = hashlib.blake2b(path.name.encode(), digest_size=6).digest()
    tape = int.from_bytes(digest, "big")
    for batch in read_tape(path, clock_us):
        yield [
            Frame(f.payload, f.received_at_us, (tape << 12) + f.connection % 4096, f.line)
            for f in batch
        ]
