"""The conversations in docs/live.md are had, word for word."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from tests.k2_api.live.hand_fed import filled_lake, served
from tests.k2_api.live.sockets import talk
from tests.needs import CHECKOUT

EXAMPLES = re.findall(r"```live\n(.*?)```", (CHECKOUT / "docs" / "live.md").read_text(), re.DOTALL)


def as_told(heard: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """What was heard, with the example's dots for what differs from time to time."""
    return {key: "..." if example.get(key) == "..." else value for key, value in heard.items()}


def test_the_examples_are_what_is_said(tmp_path: Path) -> None:
    async def have(server: Any, example: str) -> None:
        async with talk(server) as client:
            said: dict[str, Any] = {}
            for line in example.splitlines():
                direction, message = line[0], json.loads(line[2:])
                if direction == ">":
                    said = message
                    await client.say(**said)
                    continue
                if message["type"] == "trades" and "start" not in said:
                    server.fed.give(server.fed.trades(1))
                heard = await client.hear()
                assert list(heard) == list(message), line
                assert as_told(heard, message) == message

    assert len(EXAMPLES) == 3
    with served(filled_lake(tmp_path)) as server:
        for example in EXAMPLES:
            asyncio.run(have(server, example))
