"""A few days of the simulated year: what could grow without end does not."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from benchmarks import plot, report, year
from benchmarks.year import MARK, PAGE, PICTURE, PLOT, RESULTS, Plan, Point, figures, live

# The lake is filled in the set-up of the first test.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(days=4, unkept=4, ticks=2, hour_ticks=4, hours_apart=100, keep=4, sample=1)


@pytest.fixture(scope="module")
def kept(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> list[Point]:
    told: list[str] = []
    home = tmp_path_factory.mktemp("year")
    points = [*live(plan, home, plan.days, told.append, maintained=True)]
    assert told[-1] == "with maintenance: day 4 of 4"
    return points


def test_snapshots_metadata_and_files_stay_within_bounds(plan: Plan, kept: list[Point]) -> None:
    days = [p.measured for p in kept if not p.hour]
    assert len(days) == plan.days
    # What is kept, what comes until expiry is due, and a commit of compaction with each day.
    most = plan.keep + plan.hour_ticks + plan.ticks + 4
    assert max(m.snapshots for m in days) <= most
    assert [m.files for m in days] == [day + 1 for day in range(plan.days)]
    assert [m.rows for m in days] == [120 * (4 + 2 * (day + 1)) for day in range(plan.days)]
    # A snapshot takes 1.4 kB, an entry of the log of 50 earlier files 0.2, columns and names 6.
    assert all(m.metadata_bytes <= 1_400 * m.snapshots + 200 * 50 + 6_000 for m in days)


def test_the_figures_say_what_was_to_be_reached(plan: Plan, kept: list[Point]) -> None:
    found = {f.name: f for f in figures(plan, kept, kept)}
    assert found["snapshots, at most"].reached
    assert found["metadata size, neglected / kept"].value == 1
    svg = ET.fromstring(year.drawn(kept, kept))
    assert len([e for e in svg.iter() if e.tag.endswith("polyline")]) == 12


def test_a_plot_holds_all_points_within_its_panel() -> None:
    line = plot.Line("<a & b>", [(0, 0), (50, 7), (100, 12)])
    drawn = ET.fromstring(plot.svg([plot.Panel("one", [line])], "day"))
    [polyline] = [e for e in drawn.iter() if e.tag.endswith("polyline")]
    points = [tuple(map(float, p.split(","))) for p in polyline.attrib["points"].split()]
    assert points[0] == (plot.LEFT, plot.HEIGHT - plot.BOTTOM)
    assert all(plot.LEFT <= x <= plot.WIDTH - plot.RIGHT for x, _ in points)
    assert all(plot.TOP <= y <= plot.HEIGHT - plot.BOTTOM for _, y in points)


@pytest.mark.skipif(not RESULTS.exists(), reason="`make year` has not kept its figures yet")
def test_the_page_shows_the_year_that_was_measured() -> None:
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    section = page.partition(f"<!-- {MARK} -->")[2].partition(f"<!-- end of {MARK} -->")[0]
    for f in found["figures"]:
        numbers = " | ".join(report.text(n) for n in (f["median"], min(f["runs"]), max(f["runs"])))
        assert f"| {f['name']} | {f['unit']} | {numbers} |" in section
    # The page says why of the one; whatever else missed its bound would be news.
    missed = [f["name"] for f in found["figures"] if f["reached"] is False]
    assert missed == ["gold tick, last / first full hour"]
    assert found["settings"]["days"] == Plan().days
    assert PICTURE in section
    ET.fromstring(PLOT.read_text(encoding="utf-8"))
