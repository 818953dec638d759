"""Lines over a common axis as SVG, in small panels: what a page needs of a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, COLUMNS = 300, 170, 2
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 26
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37")
INK, FAINT = "#57606a", "#d0d7de"
_LEGEND = 26


@dataclass(frozen=True)
class Line:
    """A named line through points, in order of x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Lines that share both axes; y begins at 0."""

    title: str
    lines: Sequence[Line]


def svg(panels: Sequence[Panel], x: str) -> str:
    """The panels two by two, with one legend; ``x`` names the common axis."""
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT + _LEGEND
    longest = max(at for p in panels for line in p.lines for at, _ in line.points)
    body = [_legend(panels[0].lines, x)]
    for index, panel in enumerate(panels):
        across, down = index % COLUMNS * WIDTH, index // COLUMNS * HEIGHT + _LEGEND
        body.append(f'<g transform="translate({across} {down})">{_panel(panel, longest)}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _legend(lines: Sequence[Line], x: str) -> str:
    parts, at = [], LEFT
    for line, colour in zip(lines, COLOURS, strict=False):
        parts.append(f'<rect x="{at}" y="9" width="14" height="4" fill="{colour}"/>')
        parts.append(_text(at + 19, 15, line.name))
        at += 35 + 7 * len(line.name)
    parts.append(_text(COLUMNS * WIDTH - RIGHT, 15, f"x: {x}", "end"))
    return "".join(parts)


def _panel(panel: Panel, longest: float) -> str:
    highest = _rounded_up(max(y for line in panel.lines for _, y in line.points))
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> str:
        return (
            f"{LEFT + inner_width * x / longest:.1f},{TOP + inner_height * (1 - y / highest):.1f}"
        )

    parts = [_text(LEFT, TOP - 10, panel.title)]
    for share in (0.0, 0.5, 1.0):
        y = TOP + inner_height * (1 - share)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>'
        )
        parts.append(_text(LEFT - 6, y + 4, f"{share * highest:,g}", "end"))
        parts.append(
            _text(LEFT + inner_width * share, HEIGHT - 10, f"{share * longest:,.0f}", "middle")
        )
    for line, colour in zip(panel.lines, COLOURS, strict=False):
        points = " ".join(place(x, y) for x, y in line.points)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        )
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _rounded_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 10 times a power of ten."""
    power = 10.0 ** (len(f"{int(value)}") - 1) if value >= 1 else 0.1
    return next(m * power for m in (1, 2, 4, 5, 10, 20) if m * power >= value)
