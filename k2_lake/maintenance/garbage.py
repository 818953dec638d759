"""Garbage: files of a table that no kept snapshot reaches, whoever left them there.

Such are the files that compaction replaced and expiry let go, those of days that were dropped, and
what killed or beaten writers left. A file of a commit under way is not reached either, so only what
has lain there for some days is deleted. Works on any store that the tables can be in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow.fs as pafs
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table

from k2_lake.catalog import Lake
from k2_lake.engine import Procedures
from k2_lake.faults import opening, planning
from k2_lake.maintenance.ledger import Begun, figures_of, record
from k2_lake.read_sql import existing_table
from k2_lake.tables import name_of
from k2_market.errors import FileBroken
from k2_market.maintenance import Action, Deed, Figures

# Much longer than any commit takes.
GRACE = timedelta(days=3)


@dataclass(frozen=True)
class StoredFile:
    """A file below a table's location; ``path`` is the store's own way to name it."""

    path: str
    size: int
    modified_at: datetime


@dataclass(frozen=True)
class Sweep:
    """What was, or of a dry run would be, deleted of a table; ``young`` files wait for their age.

    ``deed`` is what went on record, None where there was nothing to delete.
    """

    table: str
    garbage: tuple[StoredFile, ...]
    young: int
    deed: Deed | None

    @property
    def bytes(self) -> int:
        """The size of the garbage."""
        return sum(file.size for file in self.garbage)


def sweep(
    lake: Lake,
    name: str,
    *,
    grace: timedelta = GRACE,
    dry_run: bool = False,
    procedures: Procedures | None = None,
) -> Sweep | None:
    """Delete the files of a table that nothing reaches and that are older than ``grace``.

    With Iceberg's ``procedures`` only what they find unreached as well; they refuse a ``grace``
    below a day. None for a table that was never written. Goes on record where there is something
    to delete. Raises UnknownName, LakeUnavailable, and FileBroken, with nothing deleted, where a
    file that a snapshot needs is not there: then the listing cannot be trusted.
    """
    if existing_table(lake, name) is None:
        return None
    with opening(name):
        store, stored = _listed(lake.table(name))
        # Read after the listing: what was committed in between is reached already.
        table = lake.table(name)
        unreached = _unreached(table, store, stored)
    oldest = datetime.now(UTC) - grace
    garbage = tuple(f for f in unreached if f.modified_at < oldest)
    young = len(unreached) - len(garbage)
    if not garbage:
        return Sweep(name, garbage, young, None)
    before = _figures(figures_of(table), stored)
    begun = Begun(name, Action.GC, before, dry_run=dry_run)
    if procedures is not None and not dry_run:
        garbage, freed = _removed(table, procedures, garbage, oldest)
    else:
        freed = 0 if dry_run else _delete(store, garbage)
    after = replace(
        before,
        files=before.files - len(garbage),
        bytes=before.bytes - sum(f.size for f in garbage),
    )
    deed = begun.done(after, bytes_freed=freed)
    record(lake, [deed])
    return Sweep(name, garbage, young, deed)


def old_garbage(table: Table, grace: timedelta = GRACE) -> list[StoredFile]:
    """What a sweep would delete of the table; nothing is done or noted. Raises as a sweep does."""
    oldest = datetime.now(UTC) - grace
    return [f for f in _unreached(table, *_listed(table)) if f.modified_at < oldest]


def stored_files(table: Table) -> list[StoredFile]:
    """Every file below the table's location."""
    return _listed(table)[1]


def require_whole(table: Table) -> None:
    """Raise FileBroken where a list of the table's files cannot be read or was cut short."""
    with planning(table, table.metadata.snapshots):
        for _ in _needed(table):
            pass


def reached(table: Table) -> Iterator[str]:
    """The locations of all files that the table's metadata leads to, some more than once.

    Those are the metadata files it remembers, and of every kept snapshot, named ones too, the
    manifest list, the manifests and the data files.
    """
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    yield from _needed(table)


def _needed(table: Table) -> Iterator[str]:
    """The same without metadata files. Raises FileBroken where a list of files was cut short."""
    seen: set[str] = set()
    for snapshot in table.metadata.snapshots:
        manifests = snapshot.manifests(table.io)
        told = snapshot.summary["total-data-files"] if snapshot.summary else None
        _require_all(table, snapshot.manifest_list, sum(map(_live, manifests)), told)
        yield snapshot.manifest_list
        for manifest in (m for m in manifests if m.manifest_path not in seen):
            seen.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            _require_all(table, manifest.manifest_path, len(entries), _live(manifest))
            yield manifest.manifest_path
            yield from (entry.data_file.file_path for entry in entries)
    yield from (s.statistics_path for s in table.metadata.statistics)
    yield from (s.statistics_path for s in table.metadata.partition_statistics)


def _live(manifest: ManifestFile) -> int:
    return (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)


def _require_all(table: Table, location: str, files: int, told: str | int | None) -> None:
    """A list cut between two blocks reads without complaint, and its files would seem garbage."""
    if told is not None and files != int(told):
        raise FileBroken(
            f"{name_of(table)}: {location} leads to {files} data files where {told} are told of. "
            "Nothing was deleted. Was it cut short? `k2 doctor` tells more."
        )


def _listed(table: Table) -> tuple[pafs.FileSystem, list[StoredFile]]:
    scheme, netloc, path = PyArrowFileIO.parse_location(table.location())
    store = PyArrowFileIO(table.io.properties).fs_by_scheme(scheme, netloc)
    selector = pafs.FileSelector(path, allow_not_found=True, recursive=True)
    found = [i for i in store.get_file_info(selector) if i.type == pafs.FileType.File]
    return store, [StoredFile(i.path, i.size or 0, _modified(i)) for i in found]


def _modified(info: pafs.FileInfo) -> datetime:
    """When; a store that does not say keeps its files."""
    return datetime.now(UTC) if info.mtime is None else info.mtime.astimezone(UTC)


def _unreached(table: Table, store: pafs.FileSystem, stored: list[StoredFile]) -> list[StoredFile]:
    """The stored files that nothing leads to. Raises FileBroken where a needed one is missing."""
    with planning(table, table.metadata.snapshots):
        needed = {_path(location) for location in _needed(table)}
    known = needed | {_path(location) for location in reached(table)}
    missing = needed - {file.path for file in stored}
    for path in sorted(missing):
        if store.get_file_info(path).type != pafs.FileType.File:
            raise FileBroken(
                f"{name_of(table)}: {path} is not there, but a snapshot needs it. Nothing was "
                "deleted. Was the warehouse moved, or a file removed? `k2 doctor` tells more."
            )
    return [file for file in stored if file.path not in known]


def _path(location: str) -> str:
    return PyArrowFileIO.parse_location(location)[2]


def _delete(store: pafs.FileSystem, garbage: tuple[StoredFile, ...]) -> int:
    """How many bytes were freed; what another run has deleted already counts there."""
    freed = 0
    for file in garbage:
        try:
            store.delete_file(file.path)
        except FileNotFoundError:
            continue
        freed += file.size
    return freed


def _removed(
    table: Table, procedures: Procedures, garbage: tuple[StoredFile, ...], oldest: datetime
) -> tuple[tuple[StoredFile, ...], int]:
    """What of it the procedure deleted, and its size."""
    base, root = table.location(), _path(table.location())
    located = {base + file.path.removeprefix(root): file for file in garbage}
    gone = procedures.remove(table, {at: f.modified_at for at, f in located.items()}, oldest)
    deleted = tuple(file for at, file in located.items() if at in gone)
    return deleted, sum(file.size for file in deleted)


def _figures(state: Figures, stored: list[StoredFile]) -> Figures:
    return replace(state, files=len(stored), bytes=sum(f.size for f in stored))
