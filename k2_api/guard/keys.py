"""API keys: made once, shown once, kept as hashes in a file of the home.

A key is ``k2_<id>_<secret>``. The id, which is no secret, says which record is meant; of the secret
(256 random bits) only the SHA-256 of the whole key is kept, which nobody can turn around: a slow
hash, as passwords need one, would protect nothing more and cost every request.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from filelock import FileLock
from limits import parse

from k2_market.errors import UnknownName, UsageError

FOLDER, FILE, LOCK = "api", "keys.json", "keys.lock"
SCOPES = {
    "read": "rows, candles, symbols and counts",
    "batch": "several questions in one request",
    "export": "CSV, Parquet, Arrow and NDJSON, streamed",
    "live": "the stream of what happens now",
    "state": "the detailed health of the platform, and its metrics",
}
DEFAULT_SCOPES = ("read", "batch", "export", "live")
PREFIX = "k2_"
LOCKED_WITHIN_S = 10.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(r"k2_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NOBODY = b"\0" * 32

logger = logging.getLogger(__name__)


class Key(msgspec.Struct, frozen=True):
    """A key as it is kept. ``rate`` is such as ``1000/minute``, None for the API's own."""

    name: str
    id: str
    sha256: str
    scopes: tuple[str, ...]
    created_at: datetime
    rate: str | None = None

    @property
    def digest(self) -> bytes:
        """The hash of the whole key."""
        return bytes.fromhex(self.sha256)


def keys_file(home: Path) -> Path:
    """Where the keys of a home are kept."""
    return home / FOLDER / FILE


def create_key(
    home: Path, name: str, scopes: Iterable[str] = DEFAULT_SCOPES, rate: str | None = None
) -> str:
    """Make a key and return it; it cannot be shown again.

    Raises UsageError for a name that is taken or cannot be one, UnknownName for a scope.
    """
    return _made(home, name, scopes, rate, replace=False)


def replace_key(
    home: Path, name: str, scopes: Iterable[str] = DEFAULT_SCOPES, rate: str | None = None
) -> str:
    """As ``create_key``, but a key of that name is revoked first."""
    return _made(home, name, scopes, rate, replace=True)


def revoke_key(home: Path, name: str) -> Key:
    """Take a key away; whoever uses it is refused from now on. Raises UnknownName."""

    def without(keys: tuple[Key, ...]) -> tuple[Key, ...]:
        if all(k.name != name for k in keys):
            raise UnknownName("key", name, [k.name for k in keys] or ["none"])
        return tuple(k for k in keys if k.name != name)

    before = _changed(home, without)
    return next(k for k in before if k.name == name)


def read_keys(home: Path) -> tuple[Key, ...]:
    """The keys of a home, by name. Raises UsageError when the file cannot be read."""
    file = keys_file(home)
    try:
        return msgspec.json.decode(file.read_bytes(), type=tuple[Key, ...])
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(
            f"the keys in {file} cannot be read: {error}. Mend the file, or delete it and make "
            "new keys: `k2 keys create`."
        ) from error


def _made(home: Path, name: str, scopes: Iterable[str], rate: str | None, *, replace: bool) -> str:
    wanted = _scopes(scopes)
    _require_name(name)
    require_rate("--rate", rate)
    public, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    text = f"{PREFIX}{public}_{secret}"
    hashed = hashlib.sha256(text.encode()).hexdigest()
    key = Key(name, public, hashed, wanted, datetime.now(UTC).replace(microsecond=0), rate)

    def with_it(keys: tuple[Key, ...]) -> tuple[Key, ...]:
        others = tuple(k for k in keys if k.name != name)
        if len(others) < len(keys) and not replace:
            raise UsageError(
                f"there is a key named {name!r}. Choose another name, or revoke that one: "
                f"`k2 keys revoke {name}`."
            )
        return tuple(sorted((*others, key), key=lambda k: k.name))

    _changed(home, with_it)
    return text


def _scopes(wanted: Iterable[str]) -> tuple[str, ...]:
    asked = set(wanted)
    for scope in sorted(asked - set(SCOPES)):
        raise UnknownName("scope", scope, SCOPES)
    return tuple(s for s in SCOPES if s in asked)


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a key: use up to 64 letters, digits, dots, dashes and "
            "underscores, the first a letter or digit."
        )


def require_rate(where: str, rate: str | None) -> None:
    """Raise UsageError unless ``rate`` is None or one such as ``100/minute``."""
    try:
        if rate is None or parse(rate).amount > 0:
            return
    except ValueError:
        pass
    raise UsageError(f"{where} {rate!r} is no rate. Write such as 100/minute or 5000/hour.")


def _changed(home: Path, change: Callable[[tuple[Key, ...]], tuple[Key, ...]]) -> tuple[Key, ...]:
    """Change the keys, one writer at a time; readers see the old file or the new one, whole.

    Returns the keys as they were.
    """
    file = keys_file(home)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(file.with_name(LOCK), timeout=LOCKED_WITHIN_S, mode=0o600):
            before = read_keys(home)
            _write(file, msgspec.json.format(msgspec.json.encode(change(before)), indent=1))
    except OSError as error:
        raise UsageError(
            f"the keys in {file.parent} cannot be written: {error}. Choose another --home."
        ) from error
    return before


def _write(file: Path, content: bytes) -> None:
    # mkstemp opens it for the owner alone (0600), and a rename keeps that.
    handle, name = tempfile.mkstemp(prefix=FILE, dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content + b"\n")
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(file)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


class Keys:
    """The keys that a running API knows: it looks whether the file has changed at every request."""

    def __init__(self, home: Path) -> None:
        self._home, self._file = home, keys_file(home)
        self._seen: tuple[int, int, int] | None = None
        self._by_id: dict[str, Key] = {}

    def known(self, text: str) -> Key | None:
        """The key whose text this is, None if there is none; the comparison takes equal time."""
        self._look()
        shape = _KEY.fullmatch(text)
        key = None if shape is None else self._by_id.get(shape[1])
        expected = _NOBODY if key is None else key.digest
        same = hmac.compare_digest(hashlib.sha256(text.encode()).digest(), expected)
        return key if same else None

    def __len__(self) -> int:
        self._look()
        return len(self._by_id)

    def _look(self) -> None:
        try:
            found = self._file.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError:
            self._seen, self._by_id = None, {}
            return
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._by_id = {k.id: k for k in read_keys(self._home)}
        except UsageError as error:
            # Nobody comes in by a file that cannot be read: a revoked key may be why it is broken.
            cause = type(error.__cause__).__name__
            logger.error("the file of API keys cannot be read, nobody is let in: %s", cause)
            self._by_id = {}
