"""The client on the real live routes, over a network that is cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

import pytest

from k2_client import K2, Trades, UnknownName
from tests.frames import Print
from tests.k2_api.live.hand_fed import Served, served
from tests.lakes import LakeDriver


class Network:
    """Passes bytes on to a port of this machine, until it is cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def cut(self) -> None:
        """Every connection is gone."""
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        self.cut()
        for end in self._open:
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink)).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while some := source.recv(65536):
                sink.sendall(some)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def network(port: int) -> Iterator[Network]:
    between = Network(port)
    try:
        yield between
    finally:
        between.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    driver = LakeDriver(tmp_path_factory.mktemp("followed"))
    driver.receive([Print(n, n * 10, "10", "1") for n in range(1, 11)])
    driver.tick()
    with served(driver) as running:
        running.fed.next_number = 11
        yield running


def test_every_trade_comes_once_over_a_network_that_is_cut(server: Served) -> None:
    fed, found = server.fed, []
    with network(server.port) as between, K2(between.address, server.key) as k2:
        live = k2.live("btcusdt", "binance", start="2020-01-01")
        messages = iter(live)

        def read(count: int) -> None:
            while len(found) < count:
                message = next(messages)
                assert isinstance(message, Trades)
                found.extend(int(trade.trade_id) for trade in message.rows)

        read(10)
        for step in range(4):
            fed.give([*fed.trades(2), *fed.trades(1, "ETHUSDT")])
            if step % 2:
                fed.store()
            between.cut()
            fed.give(fed.trades(3))
            read(15 + 5 * step)
    # Of six trades the third is of another symbol.
    assert found == [*range(1, 11), *(n for n in range(11, 35) if (n - 11) % 6 != 2)]
    assert list(live.cursors) == [("trades", "binance", "BTC-USDT")]


def test_another_process_goes_on_where_the_cursors_say(server: Served) -> None:
    with K2(f"http://127.0.0.1:{server.port}", server.key) as k2:
        first = k2.live("BTC-USDT", "binance", start="2020-01-01")
        [before] = islice(first, 1)
        assert isinstance(before, Trades)
        new = server.fed.trades(1)
        server.fed.give(new)
        found: list[int] = []
        for message in k2.live("BTC-USDT", "binance", cursors=first.cursors):
            assert isinstance(message, Trades)
            found += [int(trade.trade_id) for trade in message.rows]
            if found[-1] == new[0].trade_id:
                break
        assert not {int(trade.trade_id) for trade in before.rows} & set(found)


def test_what_no_table_knows_is_told(server: Served) -> None:
    with K2(f"http://127.0.0.1:{server.port}", server.key) as k2:
        with pytest.raises(UnknownName, match="unknown symbol 'NO-SUCH'"):
            next(iter(k2.live("NO-SUCH", "binance")))
        with pytest.raises(UnknownName, match="unknown channel 'weather'"):
            next(iter(k2.live("BTC-USDT", "binance", "weather")))
