"""A lean HTTP/1.1 client for load: raw sockets, one request after another on each connection.

It reads what it must, status and length, and so takes little of what it measures. It runs in a
process of its own; what it manages against an application that does nothing is measured as well.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

import uvloop

from k2_market.errors import InvariantBroken

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Plan:
    """What to ask: ``targets`` in a random order that is the same every time.

    Ends after so many seconds. ``pause_s`` is between an answer and the next request of the same
    client; a client whose connection is closed opens another.
    """

    port: int
    targets: Sequence[str]
    key: str = ""
    clients: int = 1
    seconds: float = 3.0
    pause_s: float = 0.0
    seed: int = 1
    expect: frozenset[int] = frozenset({200})


@dataclass
class Load:
    """What came of it: seconds of each answer in order of arrival, statuses, bytes of bodies."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    body_bytes: int = 0
    closed: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second, of all clients together."""
        return len(self.latencies) / self.seconds

    def quantile_ms(self, q: float) -> float:
        """The latency that a share ``q`` of all answers did not exceed, in milliseconds."""
        return 1_000 * quantile(self.latencies, q)


def quantile(found: Sequence[float], q: float) -> float:
    """What a share ``q`` of all did not exceed."""
    ordered = sorted(found)
    return ordered[max(ceil(q * len(ordered)) - 1, 0)]


def drive(plan: Plan) -> Load:
    """Run the plan. Raises InvariantBroken for a status that is not expected."""
    load = uvloop.run(_drive(plan))
    if unexpected := set(load.statuses) - plan.expect:
        raise InvariantBroken(f"answered with {sorted(unexpected)}: {plan.targets[0]}")
    if not load.latencies:
        raise InvariantBroken(f"no answer within {plan.seconds} s: {plan.targets[0]}")
    return load


async def _drive(plan: Plan) -> Load:
    load, loop = Load(), asyncio.get_running_loop()
    requests = [_request(target, plan.key) for target in plan.targets]
    started = time.perf_counter()
    clients = [
        _client(plan, load, _shuffled(requests, plan.seed + n), started + plan.seconds)
        for n in range(plan.clients)
    ]
    await asyncio.gather(*(loop.create_task(c) for c in clients))
    load.seconds = time.perf_counter() - started
    return load


async def _client(plan: Plan, load: Load, requests: Iterator[bytes], until: float) -> None:
    loop = asyncio.get_running_loop()
    while time.perf_counter() < until:
        ended: asyncio.Future[None] = loop.create_future()
        transport, _ = await loop.create_connection(
            lambda ended=ended: Client(load, requests, until, plan.pause_s, ended),
            "127.0.0.1",
            plan.port,
        )
        try:
            await asyncio.wait_for(ended, until - time.perf_counter() + 60)
        finally:
            transport.abort()


def _request(target: str, key: str) -> bytes:
    own = f"X-API-Key: {key}\r\n" if key else ""
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n{own}\r\n".encode()


def _shuffled(requests: Sequence[bytes], seed: int) -> Iterator[bytes]:
    chosen = random.Random(seed)
    while True:
        yield chosen.choice(requests)


class Client(asyncio.Protocol):
    """One connection: sends the next request as soon as an answer is whole."""

    def __init__(
        self,
        load: Load,
        requests: Iterator[bytes],
        until: float,
        pause_s: float,
        ended: asyncio.Future[None],
    ) -> None:
        self._load, self._requests, self._until = load, requests, until
        self._pause_s, self._ended = pause_s, ended
        self._answer = _Answer()
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take a part of the answer, and go on where it was the last one."""
        self._answer.take(data)
        if not self._answer.whole:
            return
        now = time.perf_counter()
        self._load.latencies.append(now - self._sent_at)
        self._load.statuses[self._answer.status] += 1
        self._load.body_bytes += self._answer.size
        if now >= self._until:
            self._end()
        elif self._pause_s:
            asyncio.get_running_loop().call_later(self._pause_s, self._send)
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The server closed it: whoever made this client makes another."""
        self._load.closed += not self._ended.done()
        self._end()

    def _send(self) -> None:
        self._answer = _Answer()
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


class _Answer:
    """An answer as far as it has come. What it holds is counted and dropped."""

    def __init__(self) -> None:
        self.status = 0
        self.size = 0
        self.whole = False
        self._head = b""
        self._length: int | None = None
        self._tail = b""

    def take(self, data: bytes) -> None:
        """More of it."""
        if not self.status:
            self._head += data
            end = self._head.find(_HEAD_END)
            if end < 0:
                return
            head, data = self._head[:end], self._head[end + len(_HEAD_END) :]
            self.status = int(head[9:12])
            self._length = _length(head)
        self.size += len(data)
        if self._length is not None:
            self.whole = self.size >= self._length
        else:
            self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
            self.whole = self._tail == _LAST_CHUNK


def _length(head: bytes) -> int | None:
    """The body's length, None where it comes in chunks."""
    lowered = head.lower()
    at = lowered.find(_LENGTH)
    if at < 0:
        return 0 if int(head[9:12]) in (204, 304) else None
    return int(lowered[at + len(_LENGTH) :].split(b"\r", 1)[0])
