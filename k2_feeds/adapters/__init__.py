"""The exchanges that K2 knows. Nobody else imports an adapter by its name.

The adapter of an exchange is the constant of its name in the module of its name: ``BINANCE_USDM``
in ``binance_usdm.py``. So a file here and an entry in ``EXCHANGES`` are all that an exchange takes.
"""

from __future__ import annotations

from importlib import import_module

from k2_feeds.adapter import Adapter
from k2_market.errors import UnknownName
from k2_market.exchanges import EXCHANGES


def _of(exchange: str) -> Adapter:
    found: Adapter = getattr(import_module(f"{__name__}.{exchange}"), exchange.upper())
    return found


ADAPTERS: dict[str, Adapter] = {name: _of(name) for name in EXCHANGES}


def adapter(exchange: str) -> Adapter:
    """The adapter of that exchange. Raises UnknownName."""
    try:
        return ADAPTERS[exchange]
    except KeyError:
        raise UnknownName("exchange", exchange, ADAPTERS) from None
