"""K2's folder: who works in it, and Dagster's instance within it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k2_market.errors import HomeInUse, UsageError

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_HOME = Path(".k2")


@contextmanager
def locked_home(home: Path) -> Iterator[Path]:
    """Create the folder if need be and hold its lock.

    Raises HomeInUse with the other process's id, UsageError where the folder cannot be made.
    """
    home = home.absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the home {str(home)!r} cannot be used: {error.strerror}. Choose another."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise HomeInUse(
                f"the home {str(home)!r} is in use by process {lock.read().strip() or 'unknown'}. "
                "Stop that one, or choose another --home."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield home


def prepare_dagster(home: Path) -> Path:
    """Dagster's folder within the home, with the instance's configuration."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "dagster.yaml", folder / "dagster.yaml")
    return folder


def environment(home: Path) -> dict[str, str]:
    """What every process of this home must find in its environment."""
    return {
        "K2_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "PYTHONUNBUFFERED": "1",
    }
