"""The exchanges' REST interfaces: one client that keeps their limits, for whoever asks them.

A request waits until the exchange's budget of weight has room for it. Answers that say "too many"
(429, and Binance's 418) are waited out as long as ``Retry-After`` says; failures that pass by
themselves are tried again with the sessions' backoff.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from random import Random
from urllib.parse import urlsplit

import httpx2

from k2_feeds.live.liveness import backoff
from k2_market.closing import Closing
from k2_market.errors import ExchangeUnavailable, RequestRefused, UnknownName
from k2_market.retry_after import retry_after_s

ATTEMPTS = 6
# Binance bans an address for two minutes to three days: nobody should sit through more than this.
LONGEST_WAIT_S = 180.0
_TIMEOUT_S = 20.0
_SHOWN = 200
# What may be spent at once after a quiet time, in seconds' worth of the budget.
_BURST_S = 10.0
_TOO_MANY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.IM_A_TEAPOT)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RestApi:
    """Where an exchange answers, and what K2 asks of it a minute: half of what it allows.

    ``per_minute`` is in the exchange's weights where it has them, else in requests.
    """

    host: str
    per_minute: int


# Sources: "Limits" of Binance (6,000 a minute on spot, 2,400 on futures), "Spot REST Rate Limits"
# of Kraken (about one request a second for public calls), "Rate Limits" of Coinbase Exchange (10
# requests a second) and "Request limits" of Bitstamp (10,000 in ten minutes).
REST_APIS: dict[str, RestApi] = {
    "binance": RestApi("https://api.binance.com", 3_000),
    "binance_usdm": RestApi("https://fapi.binance.com", 1_200),
    "binance_coinm": RestApi("https://dapi.binance.com", 1_200),
    "kraken": RestApi("https://api.kraken.com", 30),
    "coinbase": RestApi("https://api.exchange.coinbase.com", 300),
    "bitstamp": RestApi("https://www.bitstamp.net", 500),
}


class Budget:
    """Weight that grows with time up to a bound and is spent by requests. Times in seconds."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._per_s = per_minute / 60
        self._most = self._left = self._per_s * _BURST_S
        self._at = now

    def spend(self, weight: int, now: float) -> float:
        """Take ``weight``; how long to wait before it may be used, 0 while there is room."""
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        self._left -= weight
        return max(0.0, -self._left / self._per_s)


class RestClient(Closing):
    """Asks one exchange; a context manager. Not for several threads at once.

    ``endpoint`` replaces the exchange's host: a simulator's WebSocket endpoint will do, for it
    answers both on one port. ``trust`` None means the system's certificates. ``clock`` is in
    seconds and only ever goes forward.
    """

    def __init__(
        self,
        exchange: str,
        endpoint: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        trust: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if exchange not in REST_APIS:
            raise UnknownName("exchange", exchange, REST_APIS)
        api = REST_APIS[exchange]
        self.exchange, self.waited_s = exchange, 0.0
        self._budget = Budget(api.per_minute, clock())
        self._clock, self._sleep = clock, sleep
        base = http_endpoint(endpoint) if endpoint else api.host
        self._http = httpx2.Client(
            base_url=base,
            headers={"User-Agent": "k2", **(headers or {})},
            timeout=_TIMEOUT_S,
            verify=True if trust is None else trust,
            # A proxy of the environment is for the world outside.
            trust_env=urlsplit(base).hostname not in ("127.0.0.1", "::1", "localhost"),
        )

    def get(
        self, path: str, params: Mapping[str, str | int] | None = None, *, weight: int = 1
    ) -> bytes:
        """The body of the answer to a GET that costs ``weight``.

        Raises RequestRefused with the exchange's words where asking again would not help, and
        ExchangeUnavailable where it did not, or would take longer than three minutes.
        """
        delays = backoff(Random())
        attempt = 1
        while isinstance(found := self._once(path, params or {}, weight), _Later):
            wait_s = next(delays) if found.retry_after_s is None else found.retry_after_s
            if attempt == ATTEMPTS or wait_s > LONGEST_WAIT_S:
                raise ExchangeUnavailable(
                    f"{self.exchange} did not answer GET {path}, attempt {attempt}: {found.why}. "
                    + _when(found.retry_after_s)
                )
            log.warning("%s: %s; again in %.1f s", self.exchange, found.why, wait_s)
            self._pause(wait_s)
            attempt += 1
        return found

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _once(self, path: str, params: Mapping[str, str | int], weight: int) -> bytes | _Later:
        self._pause(self._budget.spend(weight, self._clock()))
        try:
            answer = self._http.get(path, params=dict(params))
        except httpx2.RequestError as error:
            return _Later(f"{type(error).__name__}: {error}")
        status = answer.status_code
        said = answer.text[:_SHOWN].strip() if status != HTTPStatus.OK else ""
        if status in _TOO_MANY:
            header = answer.headers.get("Retry-After", "")
            return _Later(f"{status} {said}", retry_after_s(header, datetime.now(UTC)))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _Later(f"{status} {said}")
        if status != HTTPStatus.OK:
            raise RequestRefused(
                f"{self.exchange} refused GET {path} {dict(params)}: {status} {said or 'no text'}."
            )
        return answer.content

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self.waited_s += seconds
            self._sleep(seconds)


@dataclass(frozen=True, slots=True)
class _Later:
    """An answer worth asking for again; ``retry_after_s`` where the exchange said when."""

    why: str
    retry_after_s: float | None = None


def http_endpoint(endpoint: str) -> str:
    """``ws://127.0.0.1:9000`` as the same server's HTTP address; an HTTP address as it is."""
    for ws, http in (("ws://", "http://"), ("wss://", "https://")):
        if endpoint.startswith(ws):
            return http + endpoint.removeprefix(ws)
    return endpoint


def _when(seconds: float | None) -> str:
    if seconds is None:
        return "Try again later."
    return f"It asks to be left alone for {seconds:.0f} s."
