"""What is said of offsets that a topic cannot deliver: always with the numbers.

The offsets of a raw topic's partition follow on each other without a gap, which is the proof that
no frame is missing. So every gap stops the reader, be it that Kafka dropped frames or that it never
had any there; a person then decides, and `k2 bronze new-epoch` goes on.
"""

from __future__ import annotations

from k2_market.errors import OffsetBeyondEnd, OffsetHole

_AGAIN = "`k2 bronze new-epoch EXCHANGE --kind KIND` begins again at what the topic still holds."
_STEP_OVER = "`k2 bronze new-epoch EXCHANGE --kind KIND` goes on behind it."


def hole(topic: str, partition: int, expected: int, found: int, low: int) -> OffsetHole:
    """``found`` came where ``expected`` was due; ``low`` is the first offset that Kafka keeps."""
    told = f"{topic}[{partition}]: expected offset {expected}, found {found}: "
    if low > expected:
        return OffsetHole(f"{told}{found - expected} frames are no longer in Kafka. {_AGAIN}")
    return OffsetHole(
        f"{told}Kafka keeps this topic from offset {low} on, yet has no frame in between. The "
        "marks of another producer's transactions are such a gap, and so is what compaction "
        f"removed: a raw topic is for K2's feeds alone, and not compacted. {_STEP_OVER}"
    )


def beyond_end(topic: str, partition: int, offset: int, high: int) -> OffsetBeyondEnd:
    """``offset`` was asked for, where the partition ends at ``high``."""
    return OffsetBeyondEnd(
        f"offset {offset} of {topic}[{partition}] was asked for, but the topic ends "
        f"at {high}. Was the topic or the cluster recreated? {_AGAIN}"
    )
