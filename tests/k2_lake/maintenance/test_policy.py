"""How long tables are kept: the defaults, what the file says, and what it may not say."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from k2_lake.maintenance.policy import VARIABLE, Policy, policy_of, read_policy
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.errors import UsageError
from k2_market.timeframes import TIMEFRAMES

TODAY = date(2026, 6, 30)


def test_candles_are_kept_by_timeframe_and_all_else_forever() -> None:
    policy = Policy()
    assert [policy.days(candle_name(t)) for t in TIMEFRAMES] == [90, 180, 365, 1095, 1825]
    assert policy.days(TRADES_TABLE) is None
    assert policy.first_kept(TRADES_TABLE, TODAY) is None
    assert policy.first_kept(candle_name("1m"), TODAY) == date(2026, 4, 1)


def test_a_table_is_named_itself_or_by_its_namespace_which_leaves_candles_alone() -> None:
    text = "keep:\n  bronze: 30\n  gold: 400\n  gold.quotes: 7\n  gold.ohlcv_1d: forever\n"
    policy = read_policy(text, "retention.yaml")
    names = ("bronze.kraken_quotes", "silver.rejected", "gold.trades", "gold.quotes")
    assert [policy.days(n) for n in names] == [30, None, 400, 7]
    assert [policy.days(candle_name(t)) for t in ("1m", "1d")] == [90, None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "retention.yaml is empty. Write `keep:`"),
        ("keep: 30\n", "line 1, keep: '30' has no entries of its own. Write one entry"),
        ("hold: {bronze: 3}\n", "line 1, hold: is not known. Allowed: keep."),
        ("keep:\n  bronz: 3\n", "line 2, keep.bronz: 'bronz' is no table with days. Allowed: bro"),
        ("keep:\n  gold.instruments: 3\n", "'gold.instruments' is no table with days"),
        ("keep:\n  bronze: 0\n", "line 2, keep.bronze: 0 days cannot be. Write 1 to 36,500"),
        ("keep:\n  bronze: 3d\n", "'3d' is no number of days. Write 30, or forever."),
        ("keep:\n  bronze: [3]\n", "a list is no number of days"),
        ("keep:\n  bronze: 3\n  bronze: 4\n", "line 3, keep.bronze: stands there twice"),
        ("keep: {\n", "this is no YAML"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_policy(text, "retention.yaml")
    assert told in str(refused.value)


def test_the_file_is_the_homes_or_the_one_that_the_environment_names(tmp_path: Path) -> None:
    assert policy_of({}, tmp_path) == Policy()
    (tmp_path / "retention.yaml").write_text("keep: {bronze: 3}")
    assert policy_of({}, tmp_path).days("bronze.binance_trades") == 3
    other = tmp_path / "other.yaml"
    other.write_text("keep: {bronze: 5}")
    assert policy_of({VARIABLE: str(other)}, tmp_path).days("bronze.binance_trades") == 5
    with pytest.raises(UsageError, match=r"nowhere.yaml' cannot be read: No such file"):
        policy_of({VARIABLE: str(tmp_path / "nowhere.yaml")}, tmp_path)
