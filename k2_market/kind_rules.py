"""The rules of each kind of market data."""

from __future__ import annotations

from collections.abc import Mapping

from k2_market.kinds import Kind
from k2_market.quote_rules import QUOTE_RULES
from k2_market.rules import RowRules
from k2_market.trade_rules import TRADE_RULES

RULES: Mapping[Kind, RowRules] = {Kind.TRADES: TRADE_RULES, Kind.QUOTES: QUOTE_RULES}
