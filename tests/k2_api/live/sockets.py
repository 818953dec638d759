"""A client of the WebSocket, as tests talk to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect

WITHIN_S = 20


class Reached(Protocol):
    """A running server."""

    @property
    def port(self) -> int: ...

    @property
    def headers(self) -> dict[str, str]: ...


class Talk:
    """A conversation; what is received is waited for, no longer than WITHIN_S."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, **said: object) -> None:
        await self.connection.send(json.dumps(said))

    async def hear(self) -> dict[str, Any]:
        text = await asyncio.wait_for(self.connection.recv(), WITHIN_S)
        heard: dict[str, Any] = json.loads(text)
        return heard

    async def ask(self, **said: object) -> dict[str, Any]:
        await self.say(**said)
        return await self.hear()

    async def subscribe(self, symbol: str = "BTC-USDT", **more: object) -> dict[str, Any]:
        named = {"channel": "trades", "exchange": "binance", "symbol": symbol}
        heard = await self.ask(op="subscribe", **{**named, **more})
        assert heard["type"] == "subscribed", heard
        return heard

    async def rows(self, count: int) -> list[dict[str, Any]]:
        """The messages with the next so many rows, which must not be more."""
        messages: list[dict[str, Any]] = []
        while sum(len(m["data"]) for m in messages) < count:
            heard = await self.hear()
            assert heard["type"] in ("trades", "quotes"), heard
            messages.append(heard)
        assert sum(len(m["data"]) for m in messages) == count
        return messages


@asynccontextmanager
async def talk(served: Reached, **options: Any) -> AsyncIterator[Talk]:
    options = {"additional_headers": served.headers, "proxy": None, **options}
    async with connect(f"ws://127.0.0.1:{served.port}/v1/live", **options) as connection:
        yield Talk(connection)
