"""The page in a browser, as a reader's hand and eye meet it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from playwright.sync_api import Browser, Page, expect

ANSWER_MS = 30_000
# Pixels of a colour on the canvases of the chart, by the colour's name in the style sheet.
COUNT_PIXELS = """name => {
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  probe.fillRect(0, 0, 1, 1);
  const wanted = probe.getImageData(0, 0, 1, 1).data;
  let count = 0;
  for (const canvas of document.querySelectorAll("#chart canvas")) {
    if (!canvas.width || !canvas.height) continue;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4)
      if ([0, 1, 2, 3].every(part => data[i + part] === wanted[part])) count += 1;
  }
  return count;
}"""


@dataclass
class Opened:
    """The page, and what the browser complained of; that there is no stream is no complaint."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(ANSWER_MS)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._told)
        self.page.on("dialog", lambda dialog: self._alarmed(dialog))

    def _told(self, message: Any) -> None:
        if message.type == "error" and "WebSocket" not in message.text:
            self.complaints.append(message.text)

    def _alarmed(self, dialog: Any) -> None:
        self.complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def shows(self, title: str) -> None:
        """Wait for the candles of this title."""
        expect(self.page.locator("#title")).to_have_text(title)
        expect(self.page.locator("#figures dd").first).to_be_visible()

    def figures(self) -> dict[str, str]:
        """The figures of the chosen candle, by their names, as they are written."""
        found = self.page.locator("#figures > div")
        parts = [(text.split("\n")[0], text.split("\n")[1]) for text in found.all_inner_texts()]
        return dict(parts)

    def draws(self, color: str) -> None:
        """Wait until there is much of a colour of the style sheet in the chart."""
        self.page.wait_for_function(f"name => ({COUNT_PIXELS})(name) > 100", arg=color)


@contextmanager
def opened(
    browser: Browser,
    address: str,
    *,
    width: int = 1280,
    height: int = 800,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Opened]:
    """The page at this address, in a browser that knows nothing of earlier visits."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    found = Opened(context.new_page())
    try:
        found.page.goto(address)
        yield found
    finally:
        context.close()
