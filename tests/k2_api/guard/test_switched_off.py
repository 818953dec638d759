"""What a level switches off is really off, says so, and comes back by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.k2_api.tail.fed import fed, trades

BATCH = {"requests": [{"timeframe": "1m", "symbol": "BTC-USDT", "exchange": "binance"}]}


def test_under_load_tail_then_live_then_batches_are_off_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = [0.0]
    with fed(tmp_path) as market:
        client = market.client
        levels = client.app.state.guard.levels  # type: ignore[attr-defined]
        monkeypatch.setattr(levels, "_load", lambda: load[0])
        market.produce(trades(1, 3))
        market.tick()
        market.produce(trades(4, 5))
        market.until_ids(range(1, 6))

        load[0] = 0.6
        answer = client.get("/v1/trades?start=2024-08-08")
        assert answer.headers["k2-level"] == "soft"
        assert [row["trade_id"] for row in answer.json()["data"]] == ["1", "2", "3"]
        told = answer.json()["meta"]["freshness"]
        assert told["tail"] == "down"
        assert "switched off" in told["detail"]

        live = {"Accept": "text/event-stream"}
        for path, level, at in (("live", "graceful", 0.75), ("ohlcv/batch", "aggressive", 0.9)):
            load[0] = at
            refused = (
                client.get(f"/v1/{path}?channels=trades&symbol=BTC-USDT", headers=live)
                if path == "live"
                else client.post(f"/v1/{path}", json=BATCH)
            )
            assert (refused.status_code, refused.json()["code"]) == (503, "breaker_open")
            assert refused.headers["k2-level"] == level
            assert refused.headers["retry-after"] == "2"
            assert market.ids() == [1, 2, 3]

        load[0] = 0.0
        market.until_ids(range(1, 6))
        assert client.post("/v1/ohlcv/batch", json=BATCH).status_code == 200
