"""The soak in short: a feed process, an exchange that disconnects it, Kafka restarted halfway."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import Soak, soak
from tests.kafka_server import KafkaServer


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_every_trade_that_was_sent_is_in_bronze_after_disconnects_and_a_restart_of_kafka(
    kafka_server: KafkaServer, tmp_path: Path
) -> None:
    result = soak(Soak(seconds=20, rate=500, disconnect_s=3), kafka_server, tmp_path, print)
    frames = result["frames"]
    assert frames["missing"] == 0
    assert frames["bronze_trades"] >= frames["sent"] > 2_000
    assert frames["made"] == frames["sent"] + frames["not_sent"]
    assert result["disconnects"] >= 4
    assert result["connections"] >= 5
    assert (result["broker_restarts"], result["dead_letters"]) == (1, 0)
    assert result["memory"]["samples"] >= 15
