"""The asset of instruments over real sockets: the simulator answers as the exchanges do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from k2_assets.instruments import REST_ENDPOINT
from k2_feeds.simulator.synthetic import PAIRS, PERPETUALS
from k2_lake.instruments import history, refresh
from k2_market.exchanges import EXCHANGES
from k2_sensors.definitions import defs
from k2_sensors.instruments import instruments as sensor
from k2_sensors.instruments import retry_after
from tests.graphs import failed, graph, verdicts
from tests.lakes import open_lake
from tests.simulators import simulator

ALL = (*PAIRS, *PERPETUALS)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def materialize(
    home: Path, exchange: str, instance: dg.DagsterInstance | None = None
) -> dg.ExecuteInProcessResult:
    job = graph(home).resolve_job_def("instruments")
    return job.execute_in_process(instance=instance, partition_key=exchange, raise_on_error=False)


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_an_exchange_is_asked_and_its_list_kept_and_checked(
    tmp_path: Path, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulator(ALL) as endpoint:
        monkeypatch.setenv(REST_ENDPOINT, endpoint)
        result = materialize(tmp_path, exchange)
    assert result.success
    assert verdicts(result) == {"gold.instruments rules": True, "gold.instruments names": True}
    symbols = PERPETUALS if exchange == "binance_coinm" else PAIRS
    found = history(open_lake(tmp_path))
    assert {v.terms.symbol for v in found} == set(symbols)
    assert {v.terms.exchange for v in found} == {exchange}
    assert all(v.valid_to is None for v in found)
    [event] = result.get_asset_materialization_events()
    assert event.partition == exchange
    assert event.materialization.metadata["opened"].value == len(symbols)


def test_what_is_listed_no_longer_is_closed_when_it_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = datetime.now(UTC)
    for symbols in (("BTC-USD", "ADA-USD"), ("BTC-USD",)):
        with simulator(symbols) as endpoint:
            monkeypatch.setenv(REST_ENDPOINT, endpoint)
            assert materialize(tmp_path, "kraken").success
    ada, bitcoin = history(open_lake(tmp_path))
    assert ada.terms.symbol == "ADA-USD"
    assert ada.valid_to is not None
    assert began < ada.valid_from < ada.valid_to < datetime.now(UTC)
    assert (bitcoin.terms.symbol, bitcoin.valid_to) == ("BTC-USD", None)


def test_an_answer_that_is_no_list_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = open_lake(tmp_path)
    with simulator(("BTC-USD",)) as endpoint:
        monkeypatch.setenv(REST_ENDPOINT, endpoint)
        assert materialize(tmp_path, "coinbase").success
        # Contracts trade on COIN-M alone, so it lists nothing here.
        result = materialize(tmp_path, "binance_coinm")
    assert not result.success
    assert len(history(lake)) == 1


def test_the_checks_see_a_row_that_breaks_a_rule_and_a_name_that_means_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = open_lake(tmp_path)
    with simulator(ALL) as endpoint:
        monkeypatch.setenv(REST_ENDPOINT, endpoint)
        materialize(tmp_path, "kraken")
        bitcoin = next(v.terms for v in history(lake) if v.terms.symbol == "BTC-USD")
        bad = replace(bitcoin, exchange="bitstamp", tick_size=Decimal(0), names=("BTC/USD", "same"))
        other = replace(bad, symbol="ETH-USD", tick_size=Decimal(1))
        refresh(lake, "bitstamp", [bad, other], datetime.now(UTC))
        result = materialize(tmp_path, "kraken")
    assert failed(result) == {"gold.instruments rules", "gold.instruments names"}


def requested(instance: dg.DagsterInstance) -> str | None:
    with dg.build_sensor_context(instance=instance, definitions=defs, resources={}) as context:
        found = sensor.evaluate_tick(context).run_requests or []
    return found[0].partition_key if found else None


def test_the_sensor_asks_one_exchange_after_the_other_once_a_day(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    with simulator(ALL) as endpoint:
        monkeypatch.setenv(REST_ENDPOINT, endpoint)
        while (exchange := requested(instance)) is not None:
            asked.append(exchange)
            assert materialize(tmp_path, exchange, instance).success
    assert asked == list(EXCHANGES)
    assert {v.terms.exchange for v in history(open_lake(tmp_path))} == set(EXCHANGES)


def test_an_exchange_that_failed_waits_while_the_others_are_asked(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulator(("BTC-USD",)) as endpoint:
        monkeypatch.setenv(REST_ENDPOINT, endpoint)
        # Contracts trade on COIN-M alone, so it lists nothing here.
        assert not materialize(tmp_path, "binance_coinm", instance).success
        asked = []
        while (exchange := requested(instance)) is not None:
            asked.append(exchange)
            assert materialize(tmp_path, exchange, instance).success
    assert asked == [e for e in EXCHANGES if e != "binance_coinm"]


def test_an_exchange_that_fails_is_asked_less_and_less_often() -> None:
    waits = [retry_after(n) for n in (1, 2, 3, 7, 50)]
    assert waits == [timedelta(minutes=m) for m in (1, 2, 4, 60, 60)]
