from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_api.guard.keys import (
    DEFAULT_SCOPES,
    Keys,
    create_key,
    keys_file,
    read_keys,
    replace_key,
    revoke_key,
)
from k2_market.errors import UnknownName, UsageError


def test_a_key_is_known_by_its_text_alone_and_no_file_holds_that(tmp_path: Path) -> None:
    text = create_key(tmp_path, "research", rate="7/minute")
    key = Keys(tmp_path).known(text)
    assert key is not None
    assert (key.name, key.scopes, key.rate) == ("research", DEFAULT_SCOPES, "7/minute")
    assert "state" not in key.scopes
    secret = text.removeprefix(f"k2_{key.id}_")
    assert len(secret) == 43
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or secret not in file.read_text()


def test_only_the_owner_may_read_the_file_of_keys(tmp_path: Path) -> None:
    create_key(tmp_path, "one")
    create_key(tmp_path, "two")
    assert keys_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert keys_file(tmp_path).parent.stat().st_mode & 0o777 == 0o700
    assert {f.name for f in keys_file(tmp_path).parent.iterdir()} <= {"keys.json", "keys.lock"}


def test_keys_that_are_made_and_revoked_are_noticed_at_once(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    assert len(keys) == 0
    one = create_key(tmp_path, "one")
    assert keys.known(one)
    two = create_key(tmp_path, "two")
    assert keys.known(one)
    assert keys.known(two)
    revoke_key(tmp_path, "one")
    assert keys.known(one) is None
    assert keys.known(two)
    again = replace_key(tmp_path, "two")
    assert keys.known(two) is None
    assert keys.known(again)


def test_writers_at_once_lose_no_key(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: made.append(create_key(tmp_path, f"key-{n}")))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = Keys(tmp_path)
    assert len(made) == len(keys) == 12
    assert all(keys.known(text) for text in made)


@given(st.text(max_size=80), st.integers(0, 59), st.characters())
def test_no_other_text_is_a_key(
    tmp_path_factory: pytest.TempPathFactory, text: str, at: int, other: str
) -> None:
    home = tmp_path_factory.getbasetemp() / "one-key"
    key = replace_key(home, "one") if not keys_file(home).exists() else ALTERED[0]
    ALTERED[:] = [key]
    keys = Keys(home)
    altered = key[:at] + other + key[at + 1 :]
    assert keys.known(key)
    for wrong in (text, altered, key + "A", key[:-1], key.upper(), f" {key}"):
        assert (keys.known(wrong) is None) == (wrong != key)


ALTERED: list[str] = []


def test_a_file_that_cannot_be_read_lets_nobody_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = create_key(tmp_path, "one")
    keys = Keys(tmp_path)
    assert keys.known(text)
    keys_file(tmp_path).write_text("[{]")
    assert keys.known(text) is None
    assert "nobody is let in" in caplog.text
    assert str(tmp_path) not in caplog.text
    with pytest.raises(UsageError, match="cannot be read"):
        read_keys(tmp_path)


@pytest.mark.parametrize(
    ("name", "scopes", "rate", "says"),
    [
        ("", ["read"], None, "cannot name a key"),
        ("a b", ["read"], None, "cannot name a key"),
        ("../x", ["read"], None, "cannot name a key"),
        ("taken", ["read"], None, "k2 keys revoke taken"),
        ("x", ["write"], None, "unknown scope 'write'"),
        ("x", ["read"], "fast", "100/minute"),
        ("x", ["read"], "0/minute", "100/minute"),
    ],
)
def test_what_cannot_be_made_is_said_with_the_next_step(
    tmp_path: Path, name: str, scopes: list[str], rate: str | None, says: str
) -> None:
    create_key(tmp_path, "taken")
    with pytest.raises(UsageError, match=says):
        create_key(tmp_path, name, scopes, rate)
    assert [k.name for k in read_keys(tmp_path)] == ["taken"]


def test_a_key_that_is_not_there_cannot_be_revoked(tmp_path: Path) -> None:
    create_key(tmp_path, "one")
    with pytest.raises(UnknownName, match="Known: one"):
        revoke_key(tmp_path, "two")
