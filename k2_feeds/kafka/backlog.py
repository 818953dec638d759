"""How far Kafka is ahead of the tables, where Kafka forgets: the pace of whoever produces.

The embedded broker silently drops what a partition holds beyond 5 MB (compressed). A producer that
keeps a Backlog waits while the bytes that bronze has not committed come near to that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock

BOUND = 3_000_000  # bytes as they travel, of the 5,000,000 that a partition keeps
_CHUNK = 32_768  # bytes remembered together: offsets need not be known message by message


@dataclass
class _Uncommitted:
    """What a partition holds that bronze has not: (next offset, bytes) chunks, oldest first."""

    chunks: deque[tuple[int, int]] = field(default_factory=deque)
    size: int = 0

    def add(self, next_offset: int, size: int) -> None:
        self.size += size
        if self.chunks and self.chunks[-1][1] < _CHUNK:
            size += self.chunks.pop()[1]
        self.chunks.append((next_offset, size))

    def drop_below(self, committed: int) -> None:
        while self.chunks and self.chunks[0][0] <= committed:
            self.size -= self.chunks.popleft()[1]


class Backlog:
    """Counts what was produced and is not yet committed, by partition.

    ``committed`` returns the next offsets that bronze holds, by partition; it is asked only in
    ``refresh``. ``wire_ratio`` is bytes on the wire per byte of messages, 1.0 until it is measured:
    made-up frames of Binance's shape travelled as a ninth of their size, so counting frames whole
    would make most waits needless. Messages of other producers are not counted.
    """

    def __init__(self, committed: Callable[[], Mapping[int, int]], bound: int = BOUND) -> None:
        self._committed, self._bound = committed, bound
        self._partitions: dict[int, _Uncommitted] = {}
        self._in_flight = 0
        self._fullest = 0  # bytes of the fullest partition: asked before every frame
        self._lock = Lock()  # reports come in one thread while another asks bronze
        self.wire_ratio = 1.0

    @property
    def size(self) -> int:
        """Estimated bytes that the fullest partition holds or is about to, beyond bronze."""
        return int((self._fullest + self._in_flight) * self.wire_ratio)

    @property
    def full(self) -> bool:
        """Whether to wait before producing more."""
        return self.size >= self._bound

    def sent(self, size: int) -> None:
        """Bytes were handed to the client; which partition they go to is known at delivery."""
        with self._lock:
            self._in_flight += size

    def delivered(self, partition: int, offset: int, size: int) -> None:
        """Kafka acknowledged a message. Offsets of a partition come in order."""
        with self._lock:
            self._in_flight -= size
            held = self._partitions.setdefault(partition, _Uncommitted())
            held.add(offset + 1, size)
            self._fullest = max(self._fullest, held.size)

    def withdrawn(self, size: int) -> None:
        """Bytes that were handed to the client did not reach Kafka."""
        with self._lock:
            self._in_flight -= size

    def refresh(self) -> None:
        """Ask bronze how far it is and forget what it holds."""
        committed = self._committed()
        with self._lock:
            for partition, next_offset in committed.items():
                if partition in self._partitions:
                    self._partitions[partition].drop_below(next_offset)
            self._fullest = max((held.size for held in self._partitions.values()), default=0)
