"""Answers of a few rows: the newest candles before an instant, trades from an instant on."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from urllib.parse import urlencode

from benchmarks.api.lake import GrowingLake
from benchmarks.api.load import Load, Plan
from benchmarks.api.nothing import doing_nothing
from benchmarks.api.run import Run
from benchmarks.api.server import Server
from benchmarks.figures import Figure
from benchmarks.market import EXCHANGE, SYMBOLS
from k2_market.errors import InvariantBroken

CANDLES, TRADES, POINT = 100, 1_000, 10
MANY_CLIENTS = 8
# So many questions that an answer is hardly ever asked for twice.
QUESTIONS = 20_000

ONE_P50_MS, ONE_P99_MS = 3.0, 12.0
MANY_RATE, MANY_P99_MS = 600.0, 40.0
SAME_RATE, OWN_RATE = 2_000.0, 4_000.0
TRADES_P99_MS = 30.0
FLAT = 1.5


def own_ceiling(run: Run) -> list[Figure]:
    """What the load manages against an application that does nothing."""
    with doing_nothing() as port:
        plan = Plan(port, ["/"], clients=MANY_CLIENTS, seconds=run.sizes.seconds)
        loads = run.drive("an application that does nothing", plan)
    return [Figure("the load alone, 8 clients", "requests/s", rates(loads), at_least=OWN_RATE)]


def candles(run: Run, server: Server, key: str, lake: GrowingLake) -> list[Figure]:
    """The last 100 one-minute candles before an instant, as JSON."""
    targets = candle_targets(lake)
    require_rows(server, key, targets[0], CANDLES)
    seconds = run.sizes.seconds
    one = run.drive("candles, one client", Plan(server.port, targets, key, 1, seconds))
    many = run.drive("candles, 8 clients", Plan(server.port, targets, key, MANY_CLIENTS, seconds))
    same = run.drive(
        "candles, the same query", Plan(server.port, targets[:1], key, MANY_CLIENTS, seconds)
    )
    return [
        Figure("100 candles, one client, p50", "ms", quantiles(one, 0.5), at_most=ONE_P50_MS),
        Figure("100 candles, one client, p99", "ms", quantiles(one, 0.99), at_most=ONE_P99_MS),
        Figure("100 candles, 8 clients", "requests/s", rates(many), at_least=MANY_RATE),
        Figure("100 candles, 8 clients, p99", "ms", quantiles(many, 0.99), at_most=MANY_P99_MS),
        Figure("the same 100 candles, 8 clients", "requests/s", rates(same), at_least=SAME_RATE),
    ]


def trades(run: Run, server: Server, key: str, lake: GrowingLake) -> list[Figure]:
    """1,000 trades of one symbol from an instant on, as JSON."""
    targets = trade_targets(lake, TRADES)
    require_rows(server, key, targets[0], TRADES)
    loads = run.drive("trades", Plan(server.port, targets, key, 1, run.sizes.seconds))
    return [
        Figure("1,000 trades, one client, p50", "ms", quantiles(loads, 0.5)),
        Figure(
            "1,000 trades, one client, p99", "ms", quantiles(loads, 0.99), at_most=TRADES_P99_MS
        ),
    ]


def point(run: Run, server: Server, key: str, lake: GrowingLake) -> list[float]:
    """Medians, in milliseconds, of a question for ten trades from any instant on."""
    targets = trade_targets(lake, POINT)
    require_rows(server, key, targets[0], POINT)
    what = f"a point query in {lake.trades:,} trades"
    return quantiles(run.drive(what, Plan(server.port, targets, key, 1, run.sizes.seconds)), 0.5)


def flatness(points: dict[int, list[float]]) -> list[Figure]:
    """The point queries by how many trades there were, and how much longer they became."""
    least, most = min(points), max(points)
    ratio = [b / a for a, b in zip(points[least], points[most], strict=True)]
    name = f"the same, {millions(most)} / {millions(least)} trades"
    return [
        *(Figure(f"10 trades of {millions(n)}, p50", "ms", runs) for n, runs in points.items()),
        Figure(name, "ratio", ratio, at_most=FLAT),
    ]


def candle_targets(lake: GrowingLake) -> list[str]:
    """Questions for the newest candles before every minute that has so many before it."""
    chosen, minutes = random.Random(1), lake.days * 1_440
    return [
        "/v1/ohlcv/1m?"
        + urlencode(
            {
                "exchange": EXCHANGE,
                "symbol": chosen.choice(SYMBOLS)[1],
                "order": "desc",
                "limit": CANDLES,
                "end": _text(lake, chosen.randrange(CANDLES + 1, minutes) * 60),
            }
        )
        for _ in range(QUESTIONS)
    ]


def trade_targets(lake: GrowingLake, limit: int) -> list[str]:
    """Questions for so many trades of a symbol from an instant on that has enough behind it."""
    chosen = random.Random(2)
    needed = limit * len(SYMBOLS) * 2 / lake.trades
    return [
        "/v1/trades?"
        + urlencode(
            {
                "exchange": EXCHANGE,
                "symbol": chosen.choice(SYMBOLS)[1],
                "limit": limit,
                "start": _text(lake, chosen.random() * (1 - needed) * lake.days * 86_400),
            }
        )
        for _ in range(QUESTIONS)
    ]


def require_rows(server: Server, key: str, target: str, rows: int) -> None:
    """Raise InvariantBroken unless the answer has so many rows."""
    found = len(json.loads(server.get(target, key))["data"])
    if found != rows:
        raise InvariantBroken(f"{target} answered with {found} rows, not {rows}")


def rates(loads: list[Load]) -> list[float]:
    """Requests a second of each."""
    return [load.rate for load in loads]


def quantiles(loads: list[Load], q: float) -> list[float]:
    """That quantile of each, in milliseconds."""
    return [load.quantile_ms(q) for load in loads]


def millions(trades: int) -> str:
    """The number as figures are named after it."""
    return f"{trades / 1e6:g} million"


def _text(lake: GrowingLake, seconds: float) -> str:
    return (lake.start + timedelta(seconds=seconds)).isoformat()
