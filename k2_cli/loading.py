"""Archives through the chain: what ``k2 load`` does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from k2_assets.landing import landing_folder
from k2_cli.chain import Done, run_chain
from k2_cli.show import Shown
from k2_feeds.archives.archive import Archive, open_archives
from k2_feeds.kafka.frame import Origin
from k2_feeds.kafka.producer import FrameProducer
from k2_market.errors import HomeInUse
from k2_market.kinds import Kind


def opened(exchange: str, kind: Kind, paths: Sequence[Path], symbol: str | None) -> list[Archive]:
    """All archives in these files, each verified before the first row of any is loaded."""
    return [a for path in paths for a in open_archives(exchange, kind, path, symbol)]


def load_archives(
    home: Path, kind: Kind, archives: Sequence[Archive], shown: Shown
) -> tuple[Done, dict[str, int]]:
    """Bring archives of one exchange and kind through the chain; also the files and rows read.

    Raises HomeInUse, which names the landing folder, and what the chain raised.
    """
    clock_us = time.time_ns() // 1000

    def feed(producer: FrameProducer) -> Iterable[int]:
        for archive in archives:
            for batch, size in archive.batches(clock_us):
                yield producer.send_many(batch, Origin.ARCHIVE)
                shown.advance(size)

    exchange = archives[0].exchange
    try:
        done = run_chain(home, kind, {exchange: feed}, "loading", shown.update)
    except HomeInUse as error:
        folder = landing_folder(home) / exchange / kind
        raise HomeInUse(
            f"{error} If it is `k2 demo`, put the files into {str(folder)!r}: it loads them itself."
        ) from None
    return done, {"files": len(archives), "rows": done.frames}
