"""How long each table is kept, as ``retention.yaml`` of the home says.

```yaml
keep:                       # in days; `forever` keeps a table whole
  bronze: 30                # every table of bronze
  gold.trades: 400          # one table
  gold.ohlcv_1m: forever
```

Candles have limits of their own, so that `gold: 30` means trades, quotes and gaps, and never the
candles that were made of them. Everything else is kept forever unless the file says how long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from yaml.nodes import Node, ScalarNode

from k2_lake.tables import TABLES, candle_name
from k2_market.errors import UsageError
from k2_market.settings_file import SettingsFile, allowed, shown

NAME = "retention.yaml"
VARIABLE = "K2_RETENTION"
FOREVER = "forever"
LONGEST = 36_500

CANDLE_DAYS = {
    candle_name(name): days
    for name, days in (("1m", 90), ("5m", 180), ("30m", 365), ("1h", 1095), ("1d", 1825))
}
# Those with days: what has none, as the list of instruments, has nothing that could grow old.
RETAINABLE = tuple(t.name for t in TABLES.values() if t.record.day)
NAMESPACES = tuple(dict.fromkeys(TABLES[name].namespace for name in RETAINABLE))


@dataclass(frozen=True)
class Policy:
    """Days to keep by table or namespace; None is forever. ``file`` says it, none where empty."""

    stated: Mapping[str, int | None] = field(default_factory=dict)
    file: str = ""

    def days(self, table: str) -> int | None:
        """How many days of that table are kept beside today, None for all.

        What is said of the table itself holds, else a candle's own limit, else what is said of the
        namespace.
        """
        if table in self.stated:
            return self.stated[table]
        if table in CANDLE_DAYS:
            return CANDLE_DAYS[table]
        return self.stated.get(TABLES[table].namespace)

    def told(self, table: str) -> str:
        """The same for people: ``90 days`` or ``forever``."""
        days = self.days(table)
        return FOREVER if days is None else f"{days} day{'' if days == 1 else 's'}"

    def first_kept(self, table: str, today: date) -> date | None:
        """The oldest day to keep, None where all are."""
        days = self.days(table)
        return None if days is None else today - timedelta(days=days)


def policy_of(env: Mapping[str, str], home: Path) -> Policy:
    """The policy of the file that K2_RETENTION names, else of the home's, else the defaults.

    Raises UsageError for a file that cannot be read or says what cannot be done.
    """
    named = env.get(VARIABLE, "").strip()
    file = Path(named) if named else home / NAME
    if not named and not file.exists():
        return Policy()
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(
            f"{str(file)!r} cannot be read: {why}. Write it, or unset {VARIABLE}."
        ) from None
    return read_policy(text, str(file))


def read_policy(text: str, name: str) -> Policy:
    """The policy that ``text`` states; ``name`` is the file's, for messages. Raises UsageError."""
    file = SettingsFile(name)
    tree = file.tree(text, "Write `keep:` and the days of each table, or remove the file.")
    keep = file.mapping(tree, "", ("keep",))["keep"]
    entries = file.mapping(keep, "keep", None, "Write one entry for each table: `bronze: 30`.")
    return Policy({n: _days(file, n, node) for n, node in entries.items()}, name)


def _days(file: SettingsFile, name: str, node: Node) -> int | None:
    path = f"keep.{name}"
    if name not in (*NAMESPACES, *RETAINABLE):
        raise file.refusal(
            node, path, f"{name!r} is no table with days", allowed((*NAMESPACES, *RETAINABLE))
        )
    if isinstance(node, ScalarNode) and node.value == FOREVER:
        return None
    if not (isinstance(node, ScalarNode) and node.value.isascii() and node.value.isdigit()):
        raise file.refusal(
            node, path, f"{shown(node)} is no number of days", f"Write 30, or {FOREVER}."
        )
    days = int(node.value)
    if not 1 <= days <= LONGEST:
        raise file.refusal(
            node, path, f"{days} days cannot be", f"Write 1 to {LONGEST:,}, or {FOREVER}."
        )
    return days
