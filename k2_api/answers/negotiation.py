"""What form an answer takes: its format by ``format=`` or Accept, its coding by Accept-Encoding.

Both headers are read as RFC 9110 says (12.5.1 and 12.5.3): the most specific range that fits a type
gives its weight, weight 0 refuses it. Of equal weights the server's own order decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from k2_api.answers.formats import Format
from k2_market.errors import NotAcceptable

# Names that are in use for the same thing beside the one that is sent.
ALIASES = {
    Format.NDJSON: ("application/ndjson", "application/jsonl", "application/x-jsonlines"),
    Format.PARQUET: ("application/x-parquet",),
}
# zstd comes first: at its fastest it is smaller than gzip's and takes a third of the time.
CODINGS = ("zstd", "gzip")


def chosen_format(asked: str | None, accept: str | None, offered: Sequence[Format]) -> Format:
    """The format that is wanted most of those offered; ``asked`` wins over the header.

    Neither means the first that is offered. Raises NotAcceptable, which names what there is.
    """
    if asked is not None:
        if asked in offered:
            return Format(asked)
        raise _nothing(f"format {asked!r} is not offered", offered)
    if accept is None or not accept.strip():
        return offered[0]
    weighed = [(max(_weight(accept, n) for n in _names(f)), f) for f in offered]
    best, found = max(weighed, key=lambda w: w[0])
    if best <= 0:
        raise _nothing(f"nothing that Accept: {accept[:120]} names is offered", offered)
    return found


def chosen_coding(accept: str | None) -> str | None:
    """``zstd``, ``gzip``, or None where bytes are sent as they are."""
    weights = dict(_weights(accept or ""))
    known = [(weights.get(c, weights.get("*", 0.0)), c) for c in CODINGS]
    best, found = max(known, key=lambda w: w[0])
    return found if best > 0 and best >= weights.get("identity", 0.0) else None


def _nothing(what: str, offered: Iterable[Format]) -> NotAcceptable:
    there = ", ".join(f"{f.value} ({f.media_type})" for f in offered)
    return NotAcceptable(f"{what}. There is: {there}. Name one as format= or in Accept.")


def _names(wanted: Format) -> tuple[str, ...]:
    return (wanted.media_type, *ALIASES.get(wanted, ()))


def _weight(accept: str, media_type: str) -> float:
    """The weight of the most specific range that the type is in; 0 where it is in none."""
    kind = media_type.split("/", maxsplit=1)[0]
    weights = dict(_weights(accept))
    for name in (media_type, f"{kind}/*", "*/*"):
        if name in weights:
            return weights[name]
    return 0.0


def _weights(header: str) -> Iterable[tuple[str, float]]:
    """Every name in the header with its weight; parameters but ``q`` are left out."""
    for part in header.split(","):
        name, *parameters = (p.strip().lower() for p in part.split(";"))
        weights = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
        if name:
            yield name, _number(weights[0]) if weights else 1.0


def _number(text: str) -> float:
    """A weight between 0 and 1; one that is none refuses nothing and prefers nothing: 0."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0.0 <= number <= 1.0 else 0.0
