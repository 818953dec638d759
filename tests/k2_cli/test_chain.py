"""One pass through the chain tells everything that went wrong on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from k2_cli.chain import run_chain
from k2_feeds.kafka.producer import FrameProducer
from k2_market.kinds import Kind


def test_whatever_ends_the_producing_thread_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def feeding(_: FrameProducer) -> Iterator[int]:
        yield 0
        raise ZeroDivisionError("a bug in a feeding")

    # The chain tells its home to the processes it starts; other tests have homes of their own.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    with pytest.raises(ZeroDivisionError, match="a bug in a feeding"):
        run_chain(tmp_path, Kind.TRADES, {"binance": feeding}, "replaying", lambda _: None)
