"""Which ``instruments.yaml`` is meant, and what it says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from k2_cli.home import ROOT
from k2_feeds.selection import Recorded, read_selection
from k2_lake.catalog import LakeSettings
from k2_lake.instruments import history
from k2_lake.read_sql import existing_lake
from k2_market.errors import UsageError

NAME = "instruments.yaml"


def selection_file(home: Path, given: Path | None) -> Path:
    """The file that is meant: the given one, else the home's, else the one K2 comes with."""
    if given is not None:
        return given
    of_home = home / NAME
    return of_home if of_home.exists() else ROOT / NAME


def read_file(
    file: Path, listed: Mapping[str, Collection[str]] | None = None
) -> tuple[Recorded, ...]:
    """What the file says. Raises UsageError where it cannot be read or says what cannot be done.

    ``listed``: see ``read_selection``.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(
            f"{str(file)!r} cannot be read: {why}. Name another with --instruments."
        ) from None
    return read_selection(text, str(file), listed)


def listed_symbols(settings: LakeSettings) -> dict[str, set[str]]:
    """The symbols that exchanges list, or ever listed, by exchange, as far as this lake knows.

    Nothing is made where there is no lake. Raises LakeUnavailable.
    """
    try:
        lake = existing_lake(settings)
    except UsageError:
        return {}
    found: dict[str, set[str]] = {}
    for version in history(lake):
        found.setdefault(version.terms.exchange, set()).add(version.terms.symbol)
    return found
