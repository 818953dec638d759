"""The README's pictures, of invented trades: ``python -m tests.ui.screenshots docs/images``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.needs import chromium
from tests.ui import dagster_page as ui
from tests.ui.demo_process import replay, running_demo, write_two_days

SMALL = {"width": 1600, "height": 1060}


def take(folder: Path, executable: str) -> None:
    """Run the demo in a folder of its own and write lineage.png and asset.png."""
    with tempfile.TemporaryDirectory(prefix="k2-pictures-") as temporary:
        home = Path(temporary) / "home"
        write_two_days(home.with_name("frames.txt"))
        replay(home, home.with_name("frames.txt"))
        with running_demo(home) as demo, ui.chromium(executable) as browser:
            with ui.fresh_page(browser, **SMALL) as page:
                _lineage(page, demo.dagster, folder / "lineage.png")
            with ui.fresh_page(browser) as page:
                _asset(page, demo.dagster, folder / "asset.png")


def _lineage(page: Page, dagster: str, file: Path) -> None:
    ui.open_lineage(page, dagster)
    page.get_by_text("Hide navigation").click()
    ui.expand_groups(page)
    page.screenshot(path=file)


def _asset(page: Page, dagster: str, file: Path) -> None:
    page.goto(f"{dagster}/assets/gold/ohlcv_1m")
    expect(
        page.get_by_text("2 Passed").or_(page.get_by_text("Latest check results"))
    ).to_be_visible()
    expect(page.get_by_text("taker_buy_volume")).to_be_attached()
    page.screenshot(path=file)


if __name__ == "__main__":
    found = chromium()
    if found is None:
        sys.exit("no Chromium: apt-get install chromium")
    take(Path(sys.argv[1]), found)
