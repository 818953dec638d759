"""Dead letters tried again: what ``k2 dlq replay`` does.

Rejected frames are parsed anew into silver; then, if nobody works in the home, the days concerned
are brought to gold as a load does. Frames that Kafka refused are produced again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from k2_assets.resources import KafkaResource
from k2_cli.chain import run_chain
from k2_cli.letters import Asked, DeadLetterOffice
from k2_feeds.kafka.producer import FrameProducer
from k2_feeds.parsing.frames import parse
from k2_lake.catalog import Lake
from k2_lake.parsed import Parse
from k2_lake.second_parse import Replayed
from k2_lake.second_parse import replay as parse_again
from k2_market.errors import HomeInUse
from k2_market.kinds import Kind
from k2_sensors.touched_days import pending


@dataclass
class Redelivery:
    """What became of the letters: names and figures, and what is to be said of them."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


def replay(home: Path, asked: Asked) -> Redelivery:
    """Try the letters asked for again.

    Raises BrokerUnavailable where letters are to be produced and no broker answers; the others have
    been parsed by then.
    """
    office, done = DeadLetterOffice(home), Redelivery()
    if office.lake is not None and office.engine is not None and asked.number is None:
        parsed = parse_again(office.lake, office.engine, asked.wanted, _parser)
        _tell_parsed(parsed, done)
        _bring_to_gold(home, office.lake, parsed, done)
    _produce(home, office, asked, done)
    return done


def _parser(exchange: str, kind: Kind) -> Parse:
    return partial(parse, exchange, kind)


def _tell_parsed(parsed: Mapping[tuple[str, Kind], Replayed], done: Redelivery) -> None:
    for (exchange, kind), found in parsed.items():
        name = f"{exchange} {kind}"
        done.lines += [
            (f"{name}: letters", f"{found.letters:,}"),
            (f"{name}: frames parsed again", f"{found.frames:,}"),
            (f"{name}: rows now in silver", f"{found.rows:,}"),
            (f"{name}: still rejected", f"{found.still:,}"),
        ]


def _bring_to_gold(
    home: Path, lake: Lake, parsed: Mapping[tuple[str, Kind], Replayed], done: Redelivery
) -> None:
    """What silver has and gold lacks, of this replay or of one that was killed."""
    for kind in Kind:
        exchanges = [exchange for exchange, its in parsed if its is kind]
        days = pending(lake, kind) if exchanges else {}
        if not days:
            continue
        try:
            chain = run_chain(home, kind, dict.fromkeys(exchanges, _nothing), "replaying", _quiet)
        except HomeInUse:
            done.sentences.append(
                f"The platform at work in this home brings {len(days)} days of {kind} to gold."
            )
        else:
            done.lines.append((f"{kind}: days brought to gold", f"{len(chain.days):,}"))
            done.lines += [(f"{kind}: check failed", name) for name in chain.checks_failed]


def _nothing(_: FrameProducer) -> Iterable[int]:
    return ()


def _quiet(_: str) -> None:
    pass


def _produce(home: Path, office: DeadLetterOffice, asked: Asked, done: Redelivery) -> None:
    numbers = [letter.name.partition("/")[2] for letter in office.undelivered(asked)][::-1]
    if not numbers:
        return
    refused = office.kept.replay(numbers, KafkaResource(home=str(home)).settings())
    done.lines += [
        ("undelivered: produced now", f"{len(numbers) - len(refused):,}"),
        ("undelivered: refused again", f"{len(refused):,}"),
        *((f"undelivered/{number}", reason) for number, reason in sorted(refused.items())),
    ]
