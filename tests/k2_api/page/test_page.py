"""The page in a real browser, over a real server and a real lake."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from k2_api.app import create_app
from k2_lake.tables import TRADES_TABLE
from tests.api_server import serving
from tests.k2_api.lake_of_trades import Made, TradeLake
from tests.k2_api.page.opened import opened
from tests.k2_api.page.recorded import HOSTILE, HOURS
from tests.keyed import fast_key

pytestmark = [pytest.mark.browser, pytest.mark.chart]

BITCOIN = "BTC-USDT · binance · 1m"
NAMES = {"Open": "open", "High": "high", "Low": "low", "Close": "close", "Volume": "volume"}

FOCUSED = """(focused => focused.id || focused.value || focused.textContent)(
  document.activeElement
)"""


@pytest.fixture(scope="module")
def newest(address: str, key: str) -> dict[str, Any]:
    """The newest candle as the API has it."""
    query = "exchange=binance&symbol=BTC-USDT&order=desc&limit=1"
    answer = httpx2.get(f"{address}/v1/ohlcv/1m?{query}", headers={"X-API-Key": key})
    [row] = answer.json()["data"]
    return dict(row)


def test_candles_are_drawn_with_volume_and_gaps_and_told_to_the_digit(
    browser: Browser, link: str, newest: dict[str, Any]
) -> None:
    with opened(browser, link) as page:
        page.shows(BITCOIN)
        expect(page.page.locator("#gaps")).to_contain_text("45 trades missing in 1 gap")
        told = page.figures()
        for color in ("--up", "--down", "--gap"):
            page.draws(color)
        assert {name: told[name] for name in NAMES} == {n: newest[c] for n, c in NAMES.items()}
        assert told["VWAP"] == newest["vwap"]
        assert (told["Start, still forming"], told["Trades"]) == ("2024-08-08 09:59", "5")
        assert page.complaints == []


def test_beside_the_chart_stand_condition_gaps_and_the_freshness_of_every_layer(
    browser: Browser, link: str
) -> None:
    with opened(browser, link) as page:
        page.shows(BITCOIN)
        condition = page.page.locator("#condition")
        expect(condition).to_contain_text("degraded 2024-08-08")
        expect(condition.locator("li")).to_have_text(
            ["45 trades missing in 1 gap", "nothing after 09:59:48"]
        )
        expect(page.page.locator("#gaps li")).to_have_text(
            ["2024-08-08 09:19:48: 45 trades, cause unknown"]
        )
        expect(page.page.locator("#freshness dt")).to_have_text(
            ["bronze", "silver", "gold", "candles", "tail"]
        )
        expect(page.page.locator("#freshness dd").nth(1)).to_have_text("up to date")
        expect(page.page.get_by_role("link", name="API docs")).to_have_attribute("href", "docs")


def test_a_key_is_asked_for_once_and_a_wrong_one_is_said(
    browser: Browser, address: str, key: str
) -> None:
    with opened(browser, f"{address}/#key=k2_wrong") as page:
        dialog = page.page.locator("#key-dialog")
        expect(dialog).to_contain_text("This API key is not known: it is mistyped, was revoked")
        assert page.page.url == f"{address}/"
        page.page.keyboard.type("no key")
        page.press("Enter")
        expect(dialog).to_contain_text("That cannot be a key")
        page.page.locator("#key").fill(key)
        page.press("Enter")
        page.shows(BITCOIN)
        expect(page.page.locator("#message")).to_be_hidden()
        page.page.reload()
        page.shows(BITCOIN)
        assert key not in page.page.url
        assert page.page.evaluate("[{...sessionStorage}, {...localStorage}, document.cookie]") == [
            {"k2.key": key},
            {},
            "",
        ]
    with opened(browser, address) as page:
        expect(page.page.locator("#key-dialog")).to_contain_text("This needs an API key")
        page.press("Escape")
        expect(page.page.locator("#message")).to_contain_text("this needs an API key")


def test_symbol_timeframe_and_candle_are_chosen_by_keyboard_alone(
    browser: Browser, link: str
) -> None:
    with opened(browser, link) as page:
        page.shows(BITCOIN)
        page.press("/")
        page.page.keyboard.type("eth")
        page.press("Enter")
        page.shows("ETH-USDT · binance · 1m")
        page.press("]", "]")
        page.shows("ETH-USDT · binance · 7m")
        page.press("[")
        page.shows("ETH-USDT · binance · 5m")
        page.press("c", "ArrowLeft", "ArrowLeft")
        expect(page.page.locator("#spoken")).to_contain_text("2024-08-08 00:05: open 3021.07000000")
        assert page.figures()["Start"] == "2024-08-08 00:05"
        page.press("Escape")
        expect(page.page.locator("#figures dd").first).to_have_text("2024-08-08 00:10")
        page.press("?")
        expect(page.page.locator("#help")).to_contain_text("search a symbol")
        page.press("Escape", "/", *["ArrowDown"] * 4, "Enter")
        page.shows("BTC-USD · kraken · 5m")
        assert page.page.url.endswith("/?exchange=kraken&symbol=BTC-USD&timeframe=5m")
        page.page.reload()
        page.shows("BTC-USD · kraken · 5m")
        assert page.complaints == []


def test_the_tabulator_goes_from_what_is_chosen_to_the_chart_and_on(
    browser: Browser, link: str
) -> None:
    with opened(browser, link) as page:
        page.shows(BITCOIN)
        order = []
        for _ in range(9):
            page.press("Tab")
            order.append(
                page.page.evaluate(
                    "document.activeElement.id || document.activeElement.textContent.trim()"
                )
            )
        chosen = page.page.evaluate("document.querySelector('#timeframes :checked').value")
        assert chosen == "1m"
        assert order[:2] == ["exchange", "symbol"]
        assert order[3:] == [
            "API docs",
            "change-key",
            "show-help",
            "chart",
            "switch-view",
            "TradingView",
        ]


def test_further_back_the_page_asks_for_older_candles(browser: Browser, link: str) -> None:
    with opened(browser, link) as page:
        page.shows(BITCOIN)
        expect(page.page.locator("#range")).to_contain_text("500 candles")
        page.press("c", "Home")
        expect(page.page.locator("#range")).to_have_text(
            f"{HOURS * 60 - 9} candles, 2024-08-08 00:00 to 2024-08-08 09:59, all there are"
        )


def test_a_hostile_name_is_a_name(browser: Browser, link: str) -> None:
    wanted = link.replace("/#", f"/?exchange=kraken&symbol={quote(HOSTILE)}&timeframe=1m#")
    with opened(browser, wanted) as page:
        page.shows(f"{HOSTILE} · kraken · 1m")
        page.press("/")
        expect(page.page.locator("#symbols")).to_contain_text("<b>own</b>")
        assert page.page.locator("main img, header img, header b").count() == 0
        assert page.complaints == []


def test_a_small_screen_at_night_is_never_wider_than_it_is(browser: Browser, link: str) -> None:
    with opened(browser, link, width=360, height=740, scheme="dark") as page:
        page.shows(BITCOIN)
        expect(page.page.locator("#gaps li")).to_have_count(1)
        wide = "[document.documentElement.scrollWidth, innerWidth]"
        assert page.page.evaluate(wide) == [360, 360]
        page.draws("--up")
        page.press("t")
        expect(page.page.locator("#rows tbody tr")).to_have_count(200)
        page.press("?")
        assert page.page.evaluate(wide) == [360, 360]


def test_without_the_chart_library_there_is_a_sentence_and_a_table(
    browser: Browser, link: str, newest: dict[str, Any]
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/vendor/*", lambda route: route.abort())
        page.goto(link)
        expect(page.locator("#notice")).to_contain_text("run deploy/chart/fetch.sh")
        first = page.locator("#rows tbody tr").first
        expect(first).to_contain_text("2024-08-08 09:59")
        cells = [newest[c] for c in ("open", "high", "low", "close", "volume", "vwap")]
        assert first.locator("td").all_inner_texts() == [*cells, "5"]


def test_from_an_empty_lake_to_new_trades_to_an_api_that_is_gone_the_page_says_how_it_is(
    browser: Browser, tmp_path: Path
) -> None:
    lake = TradeLake(tmp_path)
    lake.lake.table(TRADES_TABLE)
    key = fast_key(lake.settings)
    with serving(create_app(lake.settings)) as at, opened(browser, f"{at}/#key={key}") as page:
        expect(page.page.locator("#empty")).to_contain_text("Nothing has been recorded yet.")
        lake.add([Made(1, 0.0, price="61000.10")])
        page.shows(BITCOIN)
        assert page.figures()["Close"] == "61000.10000000"
        lake.add([Made(2, 30.0, price="61000.20"), Made(3, 90.0, price="61000.30")])
        expect(page.page.locator("#figures dd").first).to_have_text("2024-08-08 00:01")
        assert page.figures()["Close"] == "61000.30000000"
        page.press("c", "ArrowLeft", "ArrowLeft")
        assert page.figures()["Close"] == "61000.20000000"
        page.page.route("**/v1/**", lambda route: route.abort())
        expect(page.page.locator("#status")).to_contain_text("does not answer")


def test_figures_are_the_text_that_came(browser: Browser, link: str) -> None:
    texts = ["0", "100", "0.00000000", "0.10", "-1.50", "12345678901234567890.12345678", "5.", "10"]
    with opened(browser, link) as page:
        page.shows(BITCOIN)
        shown = page.page.evaluate(
            """async texts => {
                 const { decimal } = await import("/page/texts.js");
                 return texts.map(text => decimal(text).textContent);
               }""",
            texts,
        )
        assert shown == texts
