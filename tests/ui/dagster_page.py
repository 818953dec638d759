"""The Dagster pages as a user's hand and eye meet them, and the questions behind them."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
ASSET = "svg foreignObject [class*=AssetNode_assetName]"
DAY = "dagster/partition"
ANSWER_MS = 45_000
BACKFILL_MS = 240_000
expect.set_options(timeout=ANSWER_MS)
ROW = re.compile(r"^(\w+ / \w+)\n100% completed\n((?:\d+\s){3}\d+)", re.MULTILINE)


@contextmanager
def chromium(executable: str) -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def fresh_page(browser: Browser, width: int = 1800, height: int = 1000) -> Iterator[Page]:
    """A page that remembers nothing of earlier ones, patient enough for a busy machine."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(ANSWER_MS)
    try:
        yield page
    finally:
        page.close()


def group(page: Page, name: str) -> Locator:
    """A collapsed group of the lineage graph."""
    return page.locator("svg foreignObject").get_by_text(name, exact=True)


def open_lineage(page: Page, dagster: str) -> None:
    """The global lineage as it opens: one box for each group."""
    page.goto(f"{dagster}/asset-groups")
    for name in ("bronze", "silver", "gold"):
        group(page, name).wait_for()


def expand_groups(page: Page) -> None:
    """Every asset of the lineage, by the button that shows the graph's settings."""
    page.locator("button", has=page.locator("[aria-label='settings']")).last.click()
    page.get_by_role("menuitem", name="Expand all groups").click()
    page.keyboard.press("Escape")
    page.get_by_role("menuitem", name="Collapse all groups").wait_for(state="detached")
    page.locator("svg foreignObject").get_by_text("ohlcv_1d", exact=True).wait_for()


def shown_assets(page: Page) -> list[str]:
    """The names on the nodes of the graph, of expanded groups."""
    return page.locator(ASSET).all_inner_texts()


def backfill(page: Page, first: str, last: str) -> str:
    """Choose the days in the open dialog, launch, follow the backfill to its end; its id."""
    page.get_by_text("Show all partitions").click()
    days = page.get_by_placeholder("ex: ")
    days.fill(f"[{first}...{last}]")
    days.press("Enter")
    page.get_by_text("2 partitions").first.wait_for()
    page.get_by_role("button", name="Launch backfill").click()
    page.get_by_text("Created backfill").wait_for()
    page.get_by_role("link", name="View", exact=True).click()
    page.wait_for_url("**/runs/b/*")
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(2, timeout=BACKFILL_MS)
    return page.url.rsplit("/", 1)[1]


def completed(page: Page) -> dict[str, list[str]]:
    """Of a backfill's page: targeted, in progress, succeeded and failed partitions by asset."""
    rows = ROW.findall(page.locator("body").inner_text())
    return {name.replace(" / ", "."): figures.split() for name, figures in rows}


def ask(dagster: str, question: str, **variables: object) -> Any:
    """The ``data`` of a GraphQL answer."""
    body = json.dumps({"query": question, "variables": variables}).encode()
    request = urllib.request.Request(
        f"{dagster}/graphql", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
    assert "errors" not in answer, answer
    return answer["data"]


RUNS = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status runs(limit: 50) { id status tags { key value } } } } }"""

LAUNCH = """mutation ($asked: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $asked) { __typename
    ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""

MATERIALIZATIONS = """query ($path: [String!]!, $days: [String!]) {
  assetNodeOrError(assetKey: {path: $path}) { ... on AssetNode {
    assetMaterializations(limit: 50, partitions: $days) { partition runId metadataEntries {
      label ... on IntMetadataEntry { intValue } ... on TextMetadataEntry { text } } } } } }"""

CHECKS = """query ($path: [String!]!, $name: String!) {
  assetCheckExecutions(assetKey: {path: $path}, checkName: $name, limit: 50) {
    runId partition status } }"""


def runs_of(dagster: str, backfill_id: str) -> dict[str, str]:
    """Day by run id; every run of the backfill must have succeeded, and so the backfill."""
    found = ask(dagster, RUNS, id=backfill_id)["partitionBackfillOrError"]
    assert found["status"] == "COMPLETED_SUCCESS"
    assert {run["status"] for run in found["runs"]} == {"SUCCESS"}
    tags = {run["id"]: {t["key"]: t["value"] for t in run["tags"]} for run in found["runs"]}
    return {run: of_run["dagster/partition"] for run, of_run in tags.items()}


def metadata_of(dagster: str, table: str, runs: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Day by day, the metadata of what these runs materialized of a table."""
    days = sorted(set(runs.values()))
    node = ask(dagster, MATERIALIZATIONS, path=table.split("."), days=days)["assetNodeOrError"]
    return {
        m["partition"]: {e["label"]: e.get("intValue", e.get("text")) for e in m["metadataEntries"]}
        for m in node["assetMaterializations"]
        if m["runId"] in runs
    }


def check_results(dagster: str, table: str, check: str, runs: dict[str, str]) -> dict[str, str]:
    """Day by day, how a check went in these runs."""
    found = ask(dagster, CHECKS, path=table.split("."), name=check)["assetCheckExecutions"]
    return {e["partition"]: e["status"] for e in found if e["runId"] in runs}


def launch(dagster: str, table: str, days: Sequence[str]) -> str:
    """Start a backfill of these days of a table; its id."""
    asked = {"assetSelection": [{"path": table.split(".")}], "partitionNames": list(days)}
    found = ask(dagster, LAUNCH, asked=asked)["launchPartitionBackfill"]
    assert found["__typename"] == "LaunchBackfillSuccess", found
    return str(found["backfillId"])


def outcome(dagster: str, backfill_id: str) -> tuple[str, dict[str, str]]:
    """How a backfill stands, and how its run of each day."""
    found = ask(dagster, RUNS, id=backfill_id)["partitionBackfillOrError"]
    days = {t["value"]: r["status"] for r in found["runs"] for t in r["tags"] if t["key"] == DAY}
    return found["status"], days
