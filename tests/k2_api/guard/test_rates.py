from __future__ import annotations

import asyncio
from typing import Any

import pytest
from limits.aio.storage import MemoryStorage
from limits.errors import StorageError

from k2_api.guard.rates import Rates, Taken
from k2_market.errors import UsageError


class SilentStore(MemoryStorage):
    """A store that several processes share, and that does not answer."""

    STORAGE_SCHEME = None  # type: ignore[assignment]

    async def incr(self, *_: Any, **__: Any) -> int:
        raise StorageError(OSError("no route to host"))


def taken(rates: Rates, times: int, who: str = "key a") -> list[Taken]:
    async def take() -> list[Taken]:
        return [await rates.take(who, "3/minute") for _ in range(times)]

    return asyncio.run(take())


def test_a_rate_is_used_up_and_each_has_its_own() -> None:
    rates = Rates()
    found = taken(rates, 5)
    assert [t.allowed for t in found] == [True, True, True, False, False]
    assert [t.remaining for t in found] == [2, 1, 0, 0, 0]
    assert all(0 < t.reset_s <= 60 for t in found)
    assert [t.allowed for t in taken(rates, 1, "key b")] == [True]


def test_a_window_begins_anew_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = Rates()
    assert not taken(rates, 4)[-1].allowed
    import time

    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 61)
    assert taken(rates, 1)[-1].allowed


def test_while_a_shared_store_is_silent_each_process_counts_for_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rates = Rates()
    rates._store = SilentStore()
    assert [t.allowed for t in taken(rates, 4)] == [True, True, True, False]
    assert "counted by this process alone" in caplog.text


@pytest.mark.parametrize("store", ["nonsense", "ftp://user:secret@host", "file:///tmp/x"])
def test_a_store_that_cannot_be_used_is_told_without_its_password(store: str) -> None:
    with pytest.raises(UsageError, match="K2_API_RATE_STORE") as refused:
        Rates(store)
    assert "secret" not in str(refused.value)
