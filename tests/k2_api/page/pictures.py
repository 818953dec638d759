"""The README's picture of the page: ``python -m tests.k2_api.page.pictures docs/images``.

``--all`` writes what else there is to look at: night, a small screen, the table, the dialogs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, expect

from k2_api.app import create_app
from tests.api_server import serving
from tests.k2_api.page.opened import Opened, opened
from tests.k2_api.page.recorded import recorded_lake
from tests.keyed import fast_key
from tests.needs import chromium
from tests.ui.dagster_page import chromium as launched

SMALL = (360, 740)
WIDE = (1280, 760)


def take(folder: Path, executable: str, *, everything: bool) -> None:
    """Write page.png, and the others if all are wanted."""
    with tempfile.TemporaryDirectory(prefix="k2-pictures-") as home:
        lake = recorded_lake(Path(home))
        key = fast_key(lake.settings)
        with serving(create_app(lake.settings)) as address, launched(executable) as browser:
            link = f"{address}/#key={key}"
            _picture(browser, link, folder / "page.png")
            if everything:
                _others(browser, address, link, folder)


def _others(browser: Browser, address: str, link: str, folder: Path) -> None:
    for scheme in ("light", "dark"):
        name = folder / f"page-{scheme}"
        _picture(browser, link, Path(f"{name}.png"), WIDE, scheme)
        _picture(browser, link, Path(f"{name}-small.png"), SMALL, scheme)
        _picture(browser, link, Path(f"{name}-table.png"), WIDE, scheme, "t")
        _picture(browser, link, Path(f"{name}-help.png"), WIDE, scheme, "?")
        _picture(browser, link, Path(f"{name}-search.png"), WIDE, scheme, "/")
        _picture(browser, link, Path(f"{name}-search-small.png"), SMALL, scheme, "/")
        _picture(browser, link, Path(f"{name}-wrong-key.png"), SMALL, scheme, "k")


def _picture(
    browser: Browser,
    address: str,
    file: Path,
    size: tuple[int, int] = WIDE,
    scheme: Literal["light", "dark"] = "light",
    *keys: str,
) -> None:
    width, height = size
    with opened(browser, address, width=width, height=height, scheme=scheme) as page:
        _settle(page)
        page.press(*keys)
        page.page.wait_for_timeout(300)
        page.page.screenshot(path=file, full_page=width < 1000 and not keys)


def _settle(page: Opened) -> None:
    page.shows("BTC-USDT · binance · 1m")
    expect(page.page.locator("#gaps li")).to_have_count(1)
    expect(page.page.locator("#freshness dd").first).to_be_visible()


if __name__ == "__main__":
    found = chromium()
    if found is None:
        sys.exit("no Chromium: apt-get install chromium")
    take(Path(sys.argv[1]), found, everything="--all" in sys.argv)
