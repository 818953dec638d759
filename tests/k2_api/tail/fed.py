"""A home with a broker of its own, tables that are filled step by step, and the API over both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from k2_api.tail.tail import Tail
from k2_assets.ingest import drain
from k2_feeds.kafka.broker import FOLDER, EmbeddedBroker, start_broker
from k2_feeds.kafka.frame import Frame
from k2_feeds.kafka.producer import FrameProducer
from k2_lake.tables import TRADES_TABLE
from k2_market.kinds import Kind
from tests.frames import Print
from tests.keyed import keyed
from tests.lakes import LakeDriver
from tests.live_frames import Best
from tests.services import wait_until

Row = dict[str, Any]


class Fed:
    """Frames go into Kafka, ticks bring them into the tables, the API answers over both."""

    def __init__(self, home: Path, broker: EmbeddedBroker, client: TestClient | None) -> None:
        self.home, self.broker = home, broker
        self.drivers = {kind: LakeDriver(home, kind=kind) for kind in Kind}
        self._client = client

    @property
    def client(self) -> TestClient:
        assert self._client is not None
        return self._client

    @property
    def tail(self) -> Tail:
        found: Tail = self.client.app.state.tail  # type: ignore[attr-defined]
        return found

    def produce(self, events: Sequence[Print | Best], exchange: str = "binance") -> None:
        """The frames are in Kafka when it returns."""
        kind = Kind.QUOTES if isinstance(events[0], Best) else Kind.TRADES
        with FrameProducer(self.broker.settings, exchange, kind) as producer:
            for n, event in enumerate(events):
                producer.send(Frame(event.binance(), event.received_us, 1, n), event.symbol)
            producer.flush()

    def tick(self, kind: Kind = Kind.TRADES, exchange: str = "binance") -> None:
        """What is in Kafka goes through to the tables."""
        drain(self.drivers[kind].lake, self.broker.settings, exchange, kind)
        self.drivers[kind].tick([exchange])

    def get(self, path: str, **asked: object) -> Row:
        response = self.client.get(f"/v1/{path}", params=asked)
        assert response.status_code == 200, response.text
        found: Row = response.json()
        return found

    def ids(self, path: str = "trades", **asked: object) -> list[int]:
        name = "trade_id" if path == "trades" else "quote_id"
        rows: list[Row] = self.get(path, start="2024-08-08", limit=10_000, **asked)["data"]
        return [int(row[name]) for row in rows]

    def until_ids(self, wanted: Sequence[int], path: str = "trades", **asked: object) -> None:
        wait_until(lambda: self.ids(path, **asked) == list(wanted), f"{path} {wanted}", 60)

    def until(self, state: str, exchange: str = "binance") -> Row:
        """Wait for that freshness; the answer that told it."""
        found: list[Row] = []

        def told() -> bool:
            found.append(self.get("trades", exchange=exchange))
            return bool(found[-1]["meta"]["freshness"]["tail"] == state)

        wait_until(told, f"a tail that is {state}", 60)
        return found[-1]


@contextmanager
def fed(home: Path) -> Iterator[Fed]:
    """The API follows the broker of the home, and is live when it is given."""
    with ExitStack() as stack:
        broker = stack.enter_context(start_broker(home / FOLDER))
        running = Fed(home, broker, None)
        running.drivers[Kind.TRADES].lake.table(TRADES_TABLE)
        client = keyed(running.drivers[Kind.TRADES].lake.settings)
        running._client = stack.enter_context(client)
        running.until("live")
        yield running


def trades(first: int, last: int, **same: object) -> list[Print]:
    """Trades with these ids, both inclusive, a second apart."""
    return [Print(n, n * 1_000, f"{100 + n % 7}.5", "0.25", **same) for n in range(first, last + 1)]  # type: ignore[arg-type]


def recent(prints: Sequence[Print]) -> list[Print]:
    """The same trades, received now."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return [replace(p, received_ms=now_ms - p.time_ms + p.at_ms) for p in prints]
