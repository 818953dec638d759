"""How a trace is written: a tree from the figure down to the bytes, or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.text import Text
from rich.tree import Tree

from k2_cli.show_lake import wide_console, write_json
from k2_cli.show_letters import printable
from k2_cli.show_travel import moment_text
from k2_lake.travel.origins import Origin
from k2_lake.travel.trace import Row, Trace, TracedTrade

PAYLOAD_SHOWN = 100  # bytes
_FIGURES = ("open", "high", "low", "close", "volume", "quote_volume", "vwap", "trade_count")


def write_trace(trace: Trace, *, as_json: bool) -> None:
    """The figure, what it was made of, who brought it, and whether it holds."""
    if as_json:
        write_json(_json(trace))
        return
    console = wide_console()
    console.print(_tree(trace))
    console.print(_verdict(trace), soft_wrap=True)


def _tree(trace: Trace) -> Tree:
    if trace.candle is None:
        tree = Tree(Text(f"{trace.table}"))
    else:
        c = trace.candle
        tree = Tree(Text(f"{trace.table} {c['exchange']} {c['symbol']} {_z(c['window_start'])}"))
        tree.add(Text("  ".join(f"{name} {c[name]}" for name in _FIGURES)))
    shown, silver = len(trace.trades), trace.silver_in_all
    head = f"trades: {shown} of {trace.trades_in_all:,} shown, {trace.counted:,} count in candles"
    trades = tree.add(Text(f"{head}; rows of silver: {silver:,}, repeats: {trace.repeats:,}"))
    for trade in trace.trades:
        _add_trade(trades, trade)
    commits = tree.add("brought by")
    for origin in trace.commits:
        commits.add(Text(_origin_text(origin)))
    return tree


def _add_trade(tree: Tree, traced: TracedTrade) -> None:
    t = traced.trade
    counted = "" if t["candle_eligible"] else "  (in no candle)"
    branch = tree.add(
        Text(
            f"trade {t['trade_id']}  {_z(t['timestamp'])}  {t['price']} x {t['quantity']} "
            f"{t['side']}{counted}"
        )
    )
    for n, (row, frame) in enumerate(zip(traced.silver, traced.frames, strict=True)):
        what = "silver" if n == 0 else "repeat, not taken"
        place = f"row {row['frame_index']} of the frame, received {_z(row['ingestion_timestamp'])}"
        below = branch.add(Text(f"{what}: {place}"))
        for line in _frame_lines(frame, row):
            below.add(Text(line))


def _frame_lines(frame: Row | None, row: Row) -> Iterator[str]:
    if frame is None:
        yield f"frame at {row['kafka_partition']}@{row['kafka_offset']}: bronze no longer holds it"
        return
    yield (
        f"{frame['kafka_topic']}[{frame['kafka_partition']}] offset {frame['kafka_offset']} epoch "
        f"{frame['epoch']}, connection {frame['connection_id']} frame {frame['sequence']}, "
        f"{frame['origin']}, received {_z(frame['received_at'])}"
    )
    payload = frame["payload"]
    text = printable(payload[:PAYLOAD_SHOWN].decode(errors="backslashreplace"))
    more = f"... ({len(payload):,} bytes)" if len(payload) > PAYLOAD_SHOWN else ""
    yield text + more


def _origin_text(o: Origin) -> str:
    rows = f"{o.rows:,} row{'' if o.rows == 1 else 's'}"
    if o.committed_at is None:
        return f"{o.table}: {rows} by snapshot {o.snapshot_id} (sequence {o.sequence}, expired)"
    earlier = ", or an earlier one that has expired" if o.or_earlier else ""
    at = moment_text(o.committed_at)
    return f"{o.table}: {rows} by snapshot {o.snapshot_id} of {at} UTC, {o.mode}{earlier}"


def _verdict(trace: Trace) -> Text:
    if trace.verified and trace.candle is not None:
        n = trace.counted
        return Text(
            f"verified: made anew from its {n:,} trades the candle is the same to the digit"
        )
    if trace.verified:
        return Text("verified: the trade is exactly the row of silver that it was taken from")
    if trace.candle is None:
        return Text("NOT verified: silver no longer has such a row, or has another")
    if trace.recomputed is None:
        return Text("NOT verified: gold.trades no longer holds the trades of this candle")
    other = [n for n, v in trace.candle.items() if trace.recomputed[n] != v]
    told = ", ".join(f"{n} {trace.candle[n]} but {trace.recomputed[n]}" for n in other)
    return Text(f"NOT verified: made anew the candle differs: {told}")


def _json(trace: Trace) -> dict[str, Any]:
    return {
        "table": trace.table,
        "verified": trace.verified,
        "candle": trace.candle,
        "recomputed": trace.recomputed,
        "trades_in_all": trace.trades_in_all,
        "counted": trace.counted,
        "silver_in_all": trace.silver_in_all,
        "repeats": trace.repeats,
        "trades": [_trade_json(t) for t in trace.trades],
        "commits": [{**asdict(o), "snapshot_id": str(o.snapshot_id)} for o in trace.commits],
    }


def _trade_json(traced: TracedTrade) -> dict[str, Any]:
    frames = [None if f is None else _frame_json(f) for f in traced.frames]
    return {
        "trade": _plain(traced.trade),
        "silver": [*map(_plain, traced.silver)],
        "frames": frames,
    }


def _frame_json(frame: Row) -> dict[str, Any]:
    # Ids of connections exceed 2^53, beyond which JSON's readers round.
    return {
        **frame,
        "payload": frame["payload"].hex(),
        "connection_id": str(frame["connection_id"]),
    }


def _plain(row: Row) -> Mapping[str, Any]:
    vendor = row["vendor_data"]
    return {**row, "vendor_data": None if vendor is None else dict(vendor)}


def _z(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
