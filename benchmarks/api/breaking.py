"""One key tries to take all there is; another one asks for candles meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from benchmarks.api.lake import GrowingLake
from benchmarks.api.load import Load, Plan
from benchmarks.api.point import QUESTIONS, candle_targets, trade_targets
from benchmarks.api.run import Run
from benchmarks.api.server import Server, serving
from benchmarks.figures import Figure
from benchmarks.market import EXCHANGE
from k2_market.errors import InvariantBroken

DOUBLED = 2.0
CLIENTS = 8
PAUSE_S = 0.005
# So few questions that the first requests bring all of their candles into memory.
IN_MEMORY = 1


@dataclass(frozen=True)
class Attack:
    """What is asked, at which rate the key may, and with which status it is to be turned away.

    ``meanwhile`` is what has happened to the lake while it lasts; the other key then asks for
    ``others`` questions, which are in memory where they are few.
    """

    name: str
    targets: Sequence[str]
    rate: str
    stopped_by: int
    meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext
    others: int = QUESTIONS


def measure(run: Run, lake: GrowingLake) -> list[Figure]:
    """How much longer the other key's p99 becomes under each attack, in turn with peace."""
    flood, broken, heavy = attacks(lake)
    chosen, environment = [flood, broken], {}
    if run.sizes.timeout_s:
        chosen, environment = [*chosen, heavy], {"K2_API_TIMEOUT_S": f"{run.sizes.timeout_s}"}
    with serving(lake.home, environment) as server:
        return [f for attack in chosen for f in _under(run, server, lake, attack)]


def attacks(lake: GrowingLake) -> list[Attack]:
    """More requests than allowed, a store that is gone, and queries that take too long."""
    every = {"start": lake.start.isoformat(), "end": lake.end.isoformat(), "exchange": EXCHANGE}
    small = [f"/v1/trades?{urlencode({**every, 'limit': 1})}"]
    heavy = [
        f"/v1/aggregations/volume_profile?{urlencode({**every, 'symbol': name})}"
        for name in ("BTC-USDT", "ETH-USDT", "SOL-USDT")
    ]
    return [
        Attack("a flood beyond the rate limit", small, "10/minute", 429),
        Attack(
            "requests to a store that is gone",
            [target for n in range(1, 20) for target in trade_targets(lake, n)[:100]],
            "10000000/minute",
            503,
            lambda: _without_store(lake),
            others=IN_MEMORY,
        ),
        Attack("queries beyond the timeout", heavy, "10000000/minute", 503),
    ]


def _under(run: Run, server: Server, lake: GrowingLake, attack: Attack) -> list[Figure]:
    seconds = run.sizes.seconds
    victim = Plan(
        server.port,
        candle_targets(lake)[: attack.others],
        server.key(f"other than {attack.name}".replace(" ", "-")),
        seconds=seconds,
        pause_s=PAUSE_S,
    )
    attacker = Plan(
        server.port,
        attack.targets,
        server.key(attack.name.replace(" ", "-"), attack.rate),
        clients=CLIENTS,
        seconds=seconds + 1,
        expect=frozenset({200, 413, 429, 503}),
    )
    # What is read for the first time may take longer than a query may here.
    first = replace(victim, expect=frozenset({200, 503})), replace(attacker, seconds=1.0)
    for load in [run.start(plan) for plan in first]:
        load.result()
    peace, war, turned_away = [], [], 0
    for number in range(run.sizes.rounds):
        run.tell(f"{attack.name}, round {number + 1} of {run.sizes.rounds}")
        peace.append(run.start(victim).result())
        with attack.meanwhile():
            attacking = run.start(attacker)
            war.append(run.start(victim).result())
            turned_away += attacking.result().statuses[attack.stopped_by]
    if not turned_away:
        raise InvariantBroken(f"{attack.name}: nothing was turned away with {attack.stopped_by}")
    return _figures(attack, peace, war)


@contextmanager
def _without_store(lake: GrowingLake) -> Iterator[None]:
    """The files are elsewhere: whatever is not in memory cannot be read."""
    warehouse = lake.home / "warehouse"
    gone = warehouse.rename(lake.home / "gone")
    try:
        yield
    finally:
        gone.rename(warehouse)


def _figures(attack: Attack, peace: list[Load], war: list[Load]) -> list[Figure]:
    before, during = ([load.quantile_ms(0.99) for load in side] for side in (peace, war))
    ratio = [d / b for b, d in zip(before, during, strict=True)]
    return [
        Figure(f"another key's p99 before {attack.name}", "ms", before),
        Figure(f"another key's p99 during {attack.name}", "ms", during),
        Figure(f"{attack.name}, during / before", "ratio", ratio, at_most=DOUBLED),
    ]
