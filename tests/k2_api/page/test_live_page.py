"""The page while things happen: a real broker, the tail, the stream, and a server that restarts."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, WebSocket, expect

from k2_api.app import create_app
from k2_feeds.kafka.broker import FOLDER, start_broker
from k2_lake.catalog import LakeSettings
from tests.api_server import serving
from tests.k2_api.page.opened import Opened, opened
from tests.k2_api.tail.fed import Fed, trades
from tests.keyed import fast_key
from tests.services import free_port, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.chart]


def closes(page: Opened, price: str) -> None:
    expect(page.page.locator("#figures dd").nth(4)).to_have_text(price, timeout=30_000)


def test_candles_come_by_the_stream_and_go_on_from_the_cursor_when_the_api_is_back(
    browser: Browser, tmp_path: Path
) -> None:
    settings, port = LakeSettings.from_environment({}, tmp_path), free_port()
    asked: list[dict[str, Any]] = []
    heard: list[dict[str, Any]] = []
    closed: list[WebSocket] = []

    def listen(socket: WebSocket) -> None:
        socket.on("close", lambda _: closed.append(socket))
        socket.on("framesent", lambda payload: asked.append(json.loads(payload)))
        socket.on("framereceived", lambda payload: heard.append(json.loads(payload)))

    with ExitStack() as stack:
        broker = stack.enter_context(start_broker(tmp_path / FOLDER))
        market = Fed(tmp_path, broker, None)
        market.produce(trades(1, 6))
        market.tick()
        link = f"http://127.0.0.1:{port}/#key={fast_key(settings)}"
        with serving(create_app(settings), port):
            page = stack.enter_context(opened(browser, link))
            page.shows("BTC-USDT · binance · 1m")
            status = page.page.locator("#status")
            expect(status).to_have_text("live", timeout=30_000)
            market.produce(trades(7, 8))
            closes(page, "101.50000000")
            expect(page.page.locator("#freshness dd").last).to_contain_text("up to 20")
            page.page.on("websocket", listen)
        expect(status).to_contain_text("does not answer", timeout=45_000)
        # What fails next, an attempt at the stream, takes nothing of it back.
        failed = len(closed)
        wait_until(lambda: _ended_more(page, closed, failed), "another attempt at the stream")
        expect(status).to_contain_text("does not answer", timeout=1)
        market.produce(trades(9, 9))
        with serving(create_app(settings), port):
            expect(status).to_have_text("live", timeout=45_000)
            closes(page, "102.50000000")
            # The events of a page are handed over while something is asked of it.
            wait_until(lambda: _streamed(page, heard, "102.50000000"), "the candle in the stream")
    assert asked[0]["op"] == "subscribe"
    assert asked[0]["cursor"]


def _ended_more(page: Opened, closed: list[WebSocket], than: int) -> bool:
    page.page.title()
    return len(closed) > than


def _streamed(page: Opened, heard: list[dict[str, Any]], price: str) -> bool:
    page.page.title()
    return price in [row["close"] for message in heard for row in message.get("data", ())]
