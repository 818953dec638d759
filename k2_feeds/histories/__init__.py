"""Trades that were missed, from the exchanges' REST histories, as frames of origin ``archive``.

An exchange without an entry has no history that could be asked by trade ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

from k2_feeds.archives.envelope import Head, encode_head
from k2_feeds.histories import binance
from k2_feeds.histories.coinbase import COINBASE
from k2_feeds.histories.history import History, Wanted
from k2_feeds.histories.kraken import KRAKEN
from k2_feeds.kafka.frame import Frame
from k2_feeds.rest import RestClient

BINANCE_KEY = "K2_BINANCE_API_KEY"

_HISTORIES: dict[str, Callable[[bool], History]] = {
    "binance": lambda _: binance.SPOT,
    "binance_usdm": lambda with_key: binance.futures("/fapi/v1", with_key=with_key),
    "binance_coinm": lambda with_key: binance.futures("/dapi/v1", with_key=with_key),
    "kraken": lambda _: KRAKEN,
    "coinbase": lambda _: COINBASE,
}


def headers(exchange: str, env: Mapping[str, str]) -> dict[str, str]:
    """What requests to an exchange carry: Binance's API key of ``K2_BINANCE_API_KEY``, if set."""
    key = env.get(BINANCE_KEY, "").strip()
    return {"X-MBX-APIKEY": key} if key and exchange.startswith("binance") else {}


class Recovery:
    """The trades wanted, those alone and each once, as far as the exchange's history has them.

    ``found`` counts the trades that ``frames`` has given. An aggregated trade that reaches beyond
    what is wanted is left out, for it would count trades twice.
    """

    def __init__(
        self, client: RestClient, wanted: Wanted, *, with_key: bool, received_at_us: int
    ) -> None:
        self.wanted, self.found = wanted, 0
        self._client, self._received_at_us = client, received_at_us
        make = _HISTORIES.get(client.exchange)
        self._history = None if make is None else make(with_key)

    @property
    def reason(self) -> str:
        """Why not all were found, once all frames have been given; "" if all were."""
        if self._history is None:
            return f"{self._client.exchange} has no history that is asked by trade ids"
        if self.found == self.wanted.count:
            return ""
        return f"{self._client.exchange}: {self._history.shortfall}"

    def frames(self) -> Iterator[tuple[Frame, str | None]]:
        """The trades as frames with their keys, in the order of the exchange's answers.

        Raises FeedError where the exchange does not answer, or refuses.
        """
        wanted, seen = self.wanted, set[int]()
        history = self._history
        if history is None:
            return
        connection = _connection(self._client.exchange, wanted)
        for answered in history.ask(self._client, wanted):
            within = wanted.first_id <= answered.first_id and answered.last_id <= wanted.last_id
            if not within or answered.first_id in seen:
                continue
            seen.add(answered.first_id)
            self.found += answered.last_id - answered.first_id + 1
            payload = _payload(history, wanted.name, answered.row)
            sequence = answered.first_id - wanted.first_id + 1
            yield Frame(payload, self._received_at_us, connection, sequence), wanted.name


def _payload(history: History, name: str, row: bytes) -> bytes:
    head = Head(history.layout.name, f"history of {name}", name, history.columns(row))
    return encode_head(head) + row


def _connection(exchange: str, wanted: Wanted) -> int:
    """The same for the same trades, so that a repair is known again."""
    name = f"{exchange} {wanted.name} {wanted.first_id} {wanted.last_id}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
