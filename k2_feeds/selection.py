"""What is recorded: exchanges, kinds and symbols, as ``instruments.yaml`` lists them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from yaml.nodes import Node, ScalarNode, SequenceNode

from k2_market.errors import UsageError
from k2_market.exchanges import EXCHANGES
from k2_market.instruments import canonical_symbol
from k2_market.kinds import Kind
from k2_market.settings_file import SettingsFile, allowed, shown

_SYMBOL = re.compile(r"[^\s/_-]+-[^\s/_-]+(-[^\s/_-]+)?")


@dataclass(frozen=True)
class Recorded:
    """What is recorded of one exchange: kinds and canonical symbols, each in the file's order."""

    exchange: str
    kinds: tuple[Kind, ...]
    symbols: tuple[str, ...]


def read_selection(
    text: str, file: str, listed: Mapping[str, Collection[str]] | None = None
) -> tuple[Recorded, ...]:
    """The selection that ``text`` states; ``file`` is its name for messages.

    ``listed`` has all symbols that an exchange is known to list, or to have listed, by exchange;
    one that is not among them is refused. Of an exchange that is left out, any symbol may be.
    Raises Misconfigured with file, line, key, the value found and what is allowed.
    """
    return _Reader(file, listed or {}).read(text)


def narrowed(
    selection: Iterable[Recorded],
    exchanges: Iterable[str],
    symbols: Iterable[str],
    kinds: Iterable[str],
) -> tuple[Recorded, ...]:
    """The part of ``selection`` that these names keep; none of a sort keeps all of that sort.

    Symbols in any spelling. Raises UsageError when a name keeps nothing.
    """
    wanted = list(selection)
    by_exchange = _keep("exchange", exchanges, [r.exchange for r in wanted])
    wanted = [r for r in wanted if r.exchange in by_exchange]
    spelled = [canonical_symbol(s) or s.upper() for s in symbols]
    by_symbol = _keep("symbol", spelled, [s for r in wanted for s in r.symbols])
    by_kind = _keep("kind", kinds, [k for r in wanted for k in r.kinds])
    kept = (
        Recorded(
            r.exchange,
            tuple(k for k in r.kinds if k in by_kind),
            tuple(s for s in r.symbols if s in by_symbol),
        )
        for r in wanted
    )
    found = tuple(r for r in kept if r.kinds and r.symbols)
    if not found:
        raise UsageError(
            "no exchange records these symbols and kinds together. "
            "Leave one of --exchange, --symbol and --kind out, or add them to instruments.yaml."
        )
    return found


def _keep(what: str, names: Iterable[str], there: list[str]) -> set[str]:
    asked = set(names)
    missing = sorted(asked - set(there))
    if missing:
        raise UsageError(
            f"--{what} {missing[0]!r} is not among what is recorded. "
            f"Recorded: {', '.join(dict.fromkeys(there))}. Add it to instruments.yaml."
        )
    return asked or set(there)


class _Reader:
    """Reads one file; every refusal says where in it."""

    def __init__(self, file: str, listed: Mapping[str, Collection[str]]) -> None:
        self._file, self._listed = SettingsFile(file), listed

    def read(self, text: str) -> tuple[Recorded, ...]:
        tree = self._file.tree(text, "Write `exchanges:` and what to record of each.")
        top = self._file.mapping(tree, "", ("exchanges",))
        listed = top["exchanges"]
        exchanges = self._file.mapping(
            listed, "exchanges", None, "Write one entry for each exchange."
        )
        if not exchanges:
            raise self._file.refusal(listed, "exchanges", "is empty", "Name one exchange at least.")
        return tuple(self._exchange(name, node) for name, node in exchanges.items())

    def _exchange(self, name: str, node: Node) -> Recorded:
        path = f"exchanges.{name}"
        if name not in EXCHANGES:
            raise self._file.refusal(node, path, f"{name!r} is no exchange", allowed(EXCHANGES))
        settings = self._file.mapping(node, path, ("kinds", "symbols"))
        kinds = self._texts(settings["kinds"], f"{path}.kinds")
        for kind, at in kinds.items():
            if kind not in list(Kind):
                raise self._file.refusal(at, f"{path}.kinds", f"{kind!r} is no kind", allowed(Kind))
        symbols = self._texts(settings["symbols"], f"{path}.symbols")
        for symbol, at in symbols.items():
            self._require_canonical(symbol, at, f"{path}.symbols")
            self._require_listed(name, symbol, at, f"{path}.symbols")
        return Recorded(name, tuple(map(Kind, kinds)), tuple(symbols))

    def _require_canonical(self, symbol: str, node: Node, path: str) -> None:
        canonical = canonical_symbol(symbol)
        if symbol == canonical and _SYMBOL.fullmatch(symbol):
            return
        better = f"Write {canonical}." if canonical else "Write it like BTC-USDT or BTC-USD-PERP."
        raise self._file.refusal(
            node, path, f"{symbol!r} is not written BASE-QUOTE or BASE-QUOTE-CONTRACT", better
        )

    def _require_listed(self, exchange: str, symbol: str, node: Node, path: str) -> None:
        known = self._listed.get(exchange)
        if not known or symbol in known:
            return
        near = get_close_matches(symbol, sorted(known), n=2)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise self._file.refusal(
            node,
            path,
            f"{symbol!r} is not among the {len(known)} instruments of {exchange}",
            f"{hint}If it is new there: k2 instruments refresh.",
        )

    def _texts(self, node: Node, path: str) -> dict[str, Node]:
        """The texts of a list, each once, with their nodes."""
        if not isinstance(node, SequenceNode):
            raise self._file.refusal(
                node, path, f"{shown(node)} is no list", "Write one: [BTC-USDT, ETH-USDT]."
            )
        found: dict[str, Node] = {}
        for item in node.value:
            if not isinstance(item, ScalarNode):
                raise self._file.refusal(
                    item, path, f"{shown(item)} is no name", "Write names alone."
                )
            if item.value in found:
                raise self._file.refusal(
                    item, path, f"{item.value!r} stands there twice", "Leave one of them out."
                )
            found[item.value] = item
        if not found:
            raise self._file.refusal(node, path, "the list is empty", "Name one at least.")
        return found
