from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from k2_lake.tables import TRADES_TABLE
from tests.frames import Print
from tests.k2_api.live.hand_fed import Served, filled_lake, ids, served
from tests.k2_api.live.sockets import Talk, talk


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(filled_lake(tmp_path_factory.mktemp("resumed"))) as running:
        yield running


class Reader:
    """Follows one symbol over connections that break, always from the last cursor."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.cursor: str | None = None
        self.heard: list[int] = []
        self._open: Any = None
        self._talk: Talk | None = None

    async def connect(self) -> None:
        self._open = talk(self.server)
        self._talk = await self._open.__aenter__()
        self.cursor = (await self._talk.subscribe(cursor=self.cursor))["cursor"]

    async def hear(self, count: int) -> None:
        """Until so many trades have come since the beginning."""
        assert self._talk is not None
        while len(self.heard) < count:
            message = await self._talk.hear()
            assert message["type"] == "trades", message
            self.heard += ids([message])
            self.cursor = message["cursor"]

    async def vanish(self) -> None:
        assert self._talk is not None
        self._talk.connection.transport.abort()
        await self._open.__aexit__(None, None, None)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_trade_comes_once_whatever_breaks(server: Served, seed: int) -> None:
    chance, fed = random.Random(seed), server.fed

    def some() -> list[Print]:
        late = chance.choice([None, None, 5])
        both = (
            fed.trades(chance.randint(1, 4), symbol, at_ms=late)
            for symbol in ("BTCUSDT", "ETHUSDT")
        )
        mixed = [p for trades in both for p in trades]
        return sorted(mixed, key=lambda p: (p.trade_id % 3, p.trade_id))

    async def run() -> tuple[list[int], list[int]]:
        expected: list[int] = []

        def give(*, unheard: bool = False) -> None:
            prints = some()
            fed.give(prints, unheard=unheard)
            expected.extend(p.trade_id for p in prints if p.symbol == "BTCUSDT")

        reader = Reader(server)
        await reader.connect()
        for _ in range(15):
            step = chance.choice(["give", "give", "store", "leave", "skip"])
            if step == "give":
                give()
            elif step == "store":
                await asyncio.to_thread(fed.store)
            elif step == "leave":
                await reader.hear(chance.randint(0, len(expected)))
                await reader.vanish()
                give()
                if chance.random() < 0.5:
                    await asyncio.to_thread(fed.store)
                give()
                await reader.connect()
            else:
                # The tail broke off, and began anew behind rows that only the table has.
                give(unheard=True)
                await asyncio.to_thread(fed.store)
                fed.beginnings += 1
                give()
        give()
        await reader.hear(len(expected))
        await reader.vanish()
        return reader.heard, expected

    heard, expected = asyncio.run(run())
    assert heard == expected


def test_a_trade_that_was_sent_is_not_sent_again_when_an_old_recording_takes_its_place(
    server: Served,
) -> None:
    async def run() -> None:
        fed = server.fed
        sent = fed.trades(3)
        async with talk(server) as client:
            await client.subscribe()
            fed.give(sent)
            [message] = await client.rows(3)
        await asyncio.to_thread(fed.store)
        # Received earlier than what gold has, it takes its place, and stands behind the cursor.
        earlier = [replace(p, received_ms=p.at_ms + 1) for p in sent[:2]]
        fed.give(earlier)
        new = fed.trades(1)
        fed.give(new)
        await asyncio.to_thread(fed.store)
        moved = {
            int(str(row["trade_id"])): row["kafka_offset"] for row in fed.driver.rows(TRADES_TABLE)
        }
        assert moved[sent[0].trade_id] > moved[sent[2].trade_id]  # type: ignore[operator]
        async with talk(server) as client:
            await client.subscribe(cursor=message["cursor"])
            assert ids(await client.rows(1)) == [new[0].trade_id]

    asyncio.run(run())
