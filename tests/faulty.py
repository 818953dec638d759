"""Real faults for tests: files cut short, a disk that is full, a folder nobody may read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from k2_lake.catalog import Lake
from k2_lake.scan import planned
from k2_lake.tables import TABLES

NOBODY = 65534


def path_of(location: str) -> Path:
    return Path(location.removeprefix("file://"))


def files_of(lake: Lake, table: str) -> dict[str, Path]:
    """A file of each sort that the newest snapshot of a table is made of."""
    opened = lake.table(table)
    head = opened.current_snapshot()
    assert head is not None
    return {
        "metadata file": path_of(opened.metadata_location),
        "manifest list": path_of(head.manifest_list),
        "manifest": path_of(head.manifests(opened.io)[0].manifest_path),
        "data file": path_of(planned(opened, TABLES[table].schema).paths[0]),
    }


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def scramble(path: Path) -> None:
    """As long as before, with other bytes in the middle."""
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = bytes(b ^ 0x5A for b in content[third : 2 * third])
    path.write_bytes(bytes(content))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Make the folder a file system of its own of that size, where one may be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False)
    try:
        yield
    finally:
        if not done.returncode:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def filled(folder: Path, free: int) -> Iterator[None]:
    """The small disk of ``folder``, with at most ``free`` bytes of room."""
    if not folder.is_mount():
        pytest.skip("no small disk can be mounted here")
    ballast = folder / "ballast"
    room = os.statvfs(folder)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - free)
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def as_nobody() -> Iterator[None]:
    """An account that may neither read nor write the folders of the tests."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another account")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
