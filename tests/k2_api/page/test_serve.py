from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from k2_api.page.serve import POLICY, STATIC, dagster_address
from k2_market.errors import UsageError


def files() -> list[str]:
    found = [f.name for f in STATIC.iterdir() if f.is_file()]
    assert len(found) > 10
    return [f"/page/{name}" for name in sorted(found) if name != "index.html"]


def test_every_file_of_the_page_comes_with_a_policy_that_allows_nothing_inline(
    client: TestClient,
) -> None:
    for path in ("/", "/page/settings.json", *files()):
        response = client.get(path)
        assert response.status_code == 200, path
        assert response.headers["content-security-policy"] == POLICY
        assert response.headers["cache-control"] == "no-cache"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/").text
    assert (
        re.findall(r"<script(?! type=\"module\" src=\"page/)|<style|\son\w+=|\sstyle=", page) == []
    )
    loaded = re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', page)
    assert loaded
    assert [each for each in loaded if not each.startswith("page/")] == []


def test_the_page_makes_no_markup_of_text() -> None:
    scripts = [f for f in STATIC.glob("*.js") if f.is_file()]
    banned = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
    assert [(f.name, b) for f in scripts for b in banned if b in f.read_text()] == []


def test_modules_import_only_each_other(client: TestClient) -> None:
    for file in STATIC.glob("*.js"):
        for name in re.findall(r'(?:from|import\()\s*"\./([^"]+)"', file.read_text()):
            assert name.startswith("vendor/") or (STATIC / name).is_file(), (file.name, name)


def test_no_file_of_the_page_is_longer_than_300_lines() -> None:
    scripts = {f.name: f.read_text().count("\n") for f in STATIC.glob("*.js")}
    assert {name: lines for name, lines in scripts.items() if lines > 300} == {}


def test_what_is_not_there_is_a_problem_like_everywhere(client: TestClient) -> None:
    for path in ("/page/none.js", "/page/", "/page/../serve.py", "/page/%2e%2e/serve.py"):
        response = client.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), path


@pytest.mark.chart
def test_the_chart_library_comes_with_its_licence_and_its_maker_is_named(
    client: TestClient,
) -> None:
    notice = "TradingView Lightweight Charts\u2122 v4.1.3"
    library = client.get("/page/vendor/lightweight-charts.js")
    assert notice in library.text[:300]
    assert library.headers["content-security-policy"] == POLICY
    licence = client.get("/page/vendor/LICENSE").text
    assert notice in licence
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in licence
    assert 'href="https://www.tradingview.com/"' in client.get("/").text


def test_the_page_is_told_where_dagster_is(client: TestClient) -> None:
    settings = client.get("/page/settings.json").json()
    assert settings["dagster"] is None
    assert settings["timeframes"][:2] == ["1m", "5m"]
    assert dagster_address({}) is None
    assert dagster_address({"K2_DAGSTER_URL": ""}) is None
    given = "https://dagster.example.com/k2"
    assert dagster_address({"K2_DAGSTER_URL": given}) == given
    with pytest.raises(UsageError, match=r"K2_DAGSTER_URL was 'javascript:alert\(1\)'"):
        dagster_address({"K2_DAGSTER_URL": "javascript:alert(1)"})
