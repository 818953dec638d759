"""What is held of a topic: each key once, no more than no table has, each row told once."""

from __future__ import annotations

import itertools

import pyarrow as pa

from k2_api.tail.strand import REMEMBERED, Strand
from k2_market.kinds import Kind
from tests.frames import Print, bronze_rows, prints_table
from tests.k2_api.tail.fed import trades
from tests.lakes import parser

LIFE = ("cluster", "")


def rows(prints: list[Print], first_offset: int = 0) -> pa.Table:
    return parser()(bronze_rows(prints_table(prints, first_offset))).rows


def ids(table: pa.Table) -> list[int]:
    return [int(i) for i in table["trade_id"].to_pylist()]


def begun(start: int = 0) -> Strand:
    strand = Strand(Kind.TRADES, "binance", itertools.count(1).__next__)
    strand.begin(LIFE, 1, {0: start})
    return strand


def held(strand: Strand) -> list[int]:
    return ids(strand.held.table(Kind.TRADES))


def test_a_repeat_is_held_and_told_once_also_when_a_table_has_it() -> None:
    strand = begun()
    assert ids(strand.add(rows(trades(1, 3)))) == [1, 2, 3]
    assert ids(strand.add(rows(trades(3, 4), 3))) == [4]
    strand.drop_behind({0: 4})
    assert held(strand) == [4]
    assert ids(strand.add(rows(trades(1, 5), 5))) == [5]
    assert held(strand) == [4, 5]


def test_the_same_id_of_another_symbol_is_another_trade() -> None:
    strand = begun()
    strand.add(rows([*trades(1, 1), *trades(1, 1, symbol="ETHUSDT")]))
    assert held(strand) == [1, 1]


def test_what_is_read_again_is_held_again_but_not_told_again() -> None:
    strand = begun()
    strand.add(rows(trades(1, 3)))
    strand.begin(LIFE, 1, {0: 1})
    assert ids(strand.add(rows(trades(2, 4), 1))) == [4]
    assert held(strand) == [2, 3, 4]
    strand.begin(("another", ""), 2, {0: 0})
    assert ids(strand.add(rows(trades(4, 5)))) == [4, 5]


def test_rows_that_a_table_gave_up_again_are_held_again() -> None:
    strand = begun()
    strand.add(rows(trades(1, 4)))
    strand.drop_behind({0: 4})
    assert held(strand) == []
    strand.begin(LIFE, 1, {0: 2})
    strand.add(rows(trades(3, 4), 2))
    assert held(strand) == [3, 4]


def test_revisions_grow_and_few_ids_are_remembered() -> None:
    strand = begun()
    seen = [strand.held.revision]
    for n in range(3):
        strand.add(rows(trades(n * 10_000 + 1, n * 10_000 + 10_000), n * 10_000))
        seen.append(strand.held.revision)
    strand.drop_behind({0: 30_000})
    seen.append(strand.held.revision)
    assert seen == sorted(set(seen))
    assert len(strand._seen) == REMEMBERED
