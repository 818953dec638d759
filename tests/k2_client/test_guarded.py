"""The client and the real guard: keys, scopes and rates."""

from __future__ import annotations

import pytest

from k2_api.guard.keys import create_key, revoke_key
from k2_client import K2, Forbidden, InvalidKey, MissingKey, RateLimited
from tests.k2_api.lake_of_trades import TradeLake


def test_a_rate_that_is_used_up_for_long_is_told_with_the_seconds(
    lake: TradeLake, address: str
) -> None:
    slept: list[float] = []
    key = create_key(lake.settings.home, "slow", ["read"], "3/hour")
    with K2(address, key, sleep=slept.append) as k2:
        assert [len(k2.symbols()) for _ in range(3)] == [3] * 3
        with pytest.raises(RateLimited, match="429 rate_limited") as raised:
            k2.symbols()
    assert raised.value.retry_after_s is not None
    assert 1000 < raised.value.retry_after_s <= 3600
    assert slept == []


def test_a_scope_that_is_missing_is_told_with_the_way_to_it(lake: TradeLake, address: str) -> None:
    key = create_key(lake.settings.home, "reader", ["read"], None)
    with K2(address, key) as k2:
        assert k2.trades(start="2024-08-08").first() is not None
        with pytest.raises(Forbidden, match=r"lacks the scope export .*k2 keys create"):
            k2.trades(start="2024-08-08").to_arrow()
        with pytest.raises(Forbidden, match="lacks the scope batch"):
            k2.batch([k2.ohlcv("BTC-USDT", "binance")])
        with pytest.raises(Forbidden, match="lacks the scope live"):
            next(iter(k2.live("BTC-USDT", "binance")))


def test_without_a_key_or_with_one_that_was_revoked_nothing_is_answered(
    lake: TradeLake, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("K2_API_KEY", raising=False)
    with K2(address) as k2, pytest.raises(MissingKey, match="set K2_API_KEY"):
        k2.symbols()
    key = create_key(lake.settings.home, "gone", ["read"], None)
    with K2(address, key) as k2:
        assert k2.symbols()
        revoke_key(lake.settings.home, "gone")
        with pytest.raises(InvalidKey):
            k2.symbols()
