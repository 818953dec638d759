"""The exchanges' REST histories of trades, for the simulator: what traded, the withheld as well.

Sources: those named in ``k2_feeds/histories``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby

from k2_feeds.archives.kraken_pairs import split_name
from k2_feeds.simulator.dialects.dialect import dump, iso_us
from k2_feeds.simulator.synthetic import Fill
from k2_market.instruments import canonical_symbol

_BINANCE = {"/api/v3": "binance", "/fapi/v1": "binance_usdm", "/dapi/v1": "binance_coinm"}
_BINANCE_PATH = re.compile(r"(/api/v3|/fapi/v1|/dapi/v1)/(historicalTrades|aggTrades)")
_COINBASE_PATH = re.compile(r"/products/([^/]+)/trades")
_KRAKEN_PATH = "/0/public/Trades"

# The trades of each canonical symbol, oldest first.
Traded = Mapping[str, Sequence[Fill]]


def exchange_of(path: str) -> str | None:
    """The exchange whose history this path is, None if it is none."""
    found = _BINANCE_PATH.fullmatch(path)
    if found is not None:
        return _BINANCE[found[1]]
    if path == _KRAKEN_PATH:
        return "kraken"
    return "coinbase" if _COINBASE_PATH.fullmatch(path) else None


def answer(path: str, query: Mapping[str, str], traded: Traded) -> str | None:
    """The answer to a GET, None for a symbol that is not there."""
    of_product = _COINBASE_PATH.fullmatch(path)
    name = of_product[1] if of_product else query.get("symbol") or query.get("pair", "")
    symbol = canonical_symbol(split_name(name) if path == _KRAKEN_PATH else name)
    if symbol is None or symbol not in traded:
        return None
    fills = list(traded[symbol])
    if of_product:
        return _coinbase(fills, query)
    if path == _KRAKEN_PATH:
        return _kraken(name, fills, query)
    if path.endswith("aggTrades"):
        return _aggregated(fills, query)
    return _singles(fills, query)


def needs_key(path: str) -> bool:
    """Whether the exchange wants an API key: Binance for single trades of futures."""
    return path.endswith("/historicalTrades") and not path.startswith("/api/")


def _singles(fills: Sequence[Fill], query: Mapping[str, str]) -> str:
    limit = int(query.get("limit", 500))
    if "fromId" not in query:
        return _list([_single(f) for f in fills[-limit:]])
    wanted = [f for f in fills if f.trade_id >= int(query["fromId"])]
    return _list([_single(f) for f in wanted[:limit]])


def _single(fill: Fill) -> str:
    return dump(
        {
            "id": fill.trade_id,
            "price": f"{fill.price:f}",
            "qty": f"{fill.quantity:f}",
            "quoteQty": f"{fill.price * fill.quantity:f}",
            "time": fill.time_us // 1000,
            "isBuyerMaker": not fill.buy,
            "isBestMatch": True,
        }
    )


def _aggregated(fills: Sequence[Fill], query: Mapping[str, str]) -> str:
    """Fills of one time, price and side together; the id is that of the first fill."""
    limit = int(query.get("limit", 500))
    groups = [list(g) for _, g in groupby(fills, lambda f: (f.time_us, f.price, f.buy))]
    if "fromId" in query:
        wanted = [g for g in groups if g[0].trade_id >= int(query["fromId"])]
    else:
        start, end = int(query["startTime"]), int(query["endTime"])
        wanted = [g for g in groups if start <= g[0].time_us // 1000 <= end]
    return _list([_aggregate(group) for group in wanted[:limit]])


def _aggregate(fills: Sequence[Fill]) -> str:
    first, last = fills[0], fills[-1]
    quantity = sum((f.quantity for f in fills), Decimal(0))
    return dump(
        {
            "a": first.trade_id,
            "p": f"{first.price:f}",
            "q": f"{quantity:f}",
            "f": first.trade_id,
            "l": last.trade_id,
            "T": first.time_us // 1000,
            "m": not first.buy,
        }
    )


def _kraken(name: str, fills: Sequence[Fill], query: Mapping[str, str]) -> str:
    since, count = int(query.get("since", 0)), int(query.get("count", 1000))
    wanted = [f for f in fills if f.time_us * 1000 > since][:count]
    last = wanted[-1].time_us * 1000 if wanted else since
    rows = ",".join(_kraken_row(f) for f in wanted)
    # By hand: times must be written with their digits, not through a float.
    return f'{{"error":[],"result":{{"{name}":[{rows}],"last":"{last}"}}}}'


def _kraken_row(fill: Fill) -> str:
    seconds, rest = divmod(fill.time_us, 1_000_000)
    side, kind = "b" if fill.buy else "s", "l" if fill.limit_order else "m"
    return (
        f'["{fill.price:f}","{fill.quantity:f}",{seconds}.{rest:06d},'
        f'"{side}","{kind}","",{fill.trade_id}]'
    )


def _coinbase(fills: Sequence[Fill], query: Mapping[str, str]) -> str:
    after, limit = int(query.get("after", 2**63)), int(query.get("limit", 1000))
    older = [f for f in fills if f.trade_id < after]
    return _list([_match(f) for f in reversed(older[-limit:])])


def _match(fill: Fill) -> str:
    """``side`` is the maker's: the other than the taker's."""
    return dump(
        {
            "trade_id": fill.trade_id,
            "side": "sell" if fill.buy else "buy",
            "size": f"{fill.quantity:f}",
            "price": f"{fill.price:f}",
            "time": iso_us(fill.time_us),
        }
    )


def _list(elements: Sequence[str]) -> str:
    return f"[{','.join(elements)}]"
