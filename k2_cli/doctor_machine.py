"""What the machine itself must give: room on the disk, and the libraries that K2 was made with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from k2_market.findings import Finding, State

MACHINE = "machine"
GIGABYTE = 1_000_000_000
LITTLE, TOO_LITTLE = 2 * GIGABYTE, GIGABYTE // 5


def machine_findings(home: Path) -> Iterator[Finding]:
    """What is found of the disk and of the installed libraries."""
    yield _disk(home)
    yield _libraries()


def _disk(home: Path) -> Finding:
    free = shutil.disk_usage(home).free
    told = f"{free / GIGABYTE:,.1f} GB free at {home}"
    if free >= LITTLE:
        return Finding(MACHINE, "disk", State.OK, told)
    state = State.WRONG if free < TOO_LITTLE else State.WARNING
    return Finding(MACHINE, "disk", state, told, f"make room: k2 lake gc --home {home}")


def _libraries() -> Finding:
    wanted = [Requirement(text) for text in requires("k2-market-data") or []]
    wrong = [
        f"{w.name} {_installed(w.name)}, not {w.specifier}"
        for w in wanted
        if w.marker is None and not w.specifier.contains(_installed(w.name), prereleases=True)
    ]
    if wrong:
        mend = "pip install --require-hashes -r requirements.lock"
        return Finding(MACHINE, "libraries", State.WRONG, "; ".join(wrong), mend)
    told = f"{len([w for w in wanted if w.marker is None])} libraries as pinned"
    return Finding(MACHINE, "libraries", State.OK, told)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "0"
