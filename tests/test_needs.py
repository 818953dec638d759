"""A test that needs something is skipped without it, and fails where it was promised."""

from __future__ import annotations

import pytest

from tests import needs


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(needs.NEEDS, "moon", needs.Need(lambda: None, "wait for the night"))
    return "moon"


def test_what_is_absent_is_skipped_with_the_remedy(
    absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2_REQUIRE", "postgres")
    with pytest.raises(pytest.skip.Exception, match="moon is not there: wait for the night"):
        needs.require(absent)


def test_what_is_absent_but_required_fails(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K2_REQUIRE", "postgres,moon")
    with pytest.raises(pytest.fail.Exception, match="K2_REQUIRE asks for it"):
        needs.require(absent)


def test_what_is_there_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(needs.NEEDS, "sun", needs.Need(lambda: "/sky", "look up"))
    assert needs.require("sun") == "/sky"


def test_every_need_is_a_registered_marker(pytestconfig: pytest.Config) -> None:
    markers = {line.split(":")[0] for line in pytestconfig.getini("markers")}
    assert set(needs.NEEDS) <= markers
