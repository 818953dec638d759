"""Every data route in every format, over HTTP: the same rows, and what is told beside them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fastapi.testclient import TestClient

from k2_api.answers.formats import MEDIA_TYPES, Format
from k2_api.guard.keys import create_key
from tests.k2_api.lake_of_everything import lake_of_everything
from tests.k2_api.lake_of_trades import Made, TradeLake
from tests.keyed import keyed

ROUTES = (
    *("/v1/trades", "/v1/quotes", "/v1/ohlcv/1m", "/v1/ohlcv/7m?fill=prev", "/v1/gaps"),
    *("/v1/condition", "/v1/reconciliation", "/v1/rejected"),
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> TradeLake:
    return lake_of_everything(tmp_path_factory.mktemp("formats"))


@pytest.fixture(scope="module")
def client(lake: TradeLake) -> Iterator[TestClient]:
    with keyed(lake.settings, raise_server_exceptions=False) as client:
        yield client


def asked(url: str, more: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}start=2024-08-08&{more}"


@pytest.mark.parametrize("url", ROUTES)
def test_every_format_has_the_rows_of_the_json_page(client: TestClient, url: str) -> None:
    page = client.get(asked(url, "limit=10000")).content
    rows = page[len(b'{"data":[') : page.index(b'],"meta":')]
    ndjson = client.get(asked(url, "format=ndjson"))
    assert b",".join(ndjson.content.split(b"\n")[:-1]) == rows
    data = json.loads(page)["data"]
    arrow = pa.ipc.open_stream(client.get(asked(url, "format=arrow")).content).read_all()
    assert pq.read_table(pa.BufferReader(client.get(asked(url, "format=parquet")).content)).equals(
        arrow
    )
    assert arrow.num_rows == len(data) > 0
    assert arrow.column_names == list(data[0])
    header, *lines = client.get(asked(url, "format=csv")).text.splitlines()
    assert header == ",".join(data[0])
    assert len(lines) == len(data)


@pytest.mark.parametrize("wanted", list(Format))
def test_accept_and_format_ask_for_the_same(client: TestClient, wanted: Format) -> None:
    url = "/v1/trades?start=2024-08-08&exchange=kraken"
    by_header = client.get(url, headers={"Accept": MEDIA_TYPES[wanted]})
    by_name = client.get(f"{url}&format={wanted}", headers={"Accept": "text/html"})
    assert by_header.status_code == by_name.status_code == 200
    if wanted is not Format.ARROW:  # What Arrow holds in the place of a null is any bytes.
        assert by_header.content == by_name.content
    for answer in (by_header, by_name):
        assert answer.headers["content-type"].split(";")[0] == MEDIA_TYPES[wanted]
        assert answer.headers["k2-table"] == "gold.trades"
        assert answer.headers["k2-snapshot-id"].isdigit()
        assert "Accept-Encoding" in answer.headers["vary"]
    if wanted.streamed:
        assert "gold_trades." in by_name.headers["content-disposition"]


def test_a_format_that_there_is_not_is_406_with_the_list(client: TestClient) -> None:
    for answer in (
        client.get("/v1/trades?format=xml"),
        client.get("/v1/ohlcv/1m", headers={"Accept": "application/pdf"}),
    ):
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (406, "not_acceptable")
        assert "ndjson (application/x-ndjson)" in problem["detail"]


@pytest.mark.parametrize(
    ("query", "says"),
    [("format=csv", "start"), ("format=csv&start=2024-08-08&cursor=x", "cursor")],
)
def test_what_is_streamed_needs_a_start_and_has_no_cursor(
    client: TestClient, query: str, says: str
) -> None:
    problem = client.get(f"/v1/trades?{query}")
    assert (problem.status_code, problem.json()["code"]) == (422, "invalid_parameter")
    assert problem.json()["detail"].startswith(says)
    assert client.get("/v1/trades?format=csv&limit=3").text.count("\n") == 4


def test_a_key_without_the_scope_exports_nothing(lake: TradeLake, client: TestClient) -> None:
    key = create_key(lake.settings.home, "reader", ["read"], "1000/minute")
    url = "/v1/trades?start=2024-08-08"
    assert client.get(url, headers={"X-API-Key": key}).status_code == 200
    for of in (url, "/v1/ohlcv/1m?start=2024-08-08"):
        refused = client.get(f"{of}&format=csv", headers={"X-API-Key": key})
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


@pytest.mark.parametrize("wanted", ["json", "ndjson", "csv"])
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_text_is_compressed_for_who_accepts_it(
    client: TestClient, wanted: str, coding: str
) -> None:
    url = f"/v1/trades?start=2024-08-08&format={wanted}"
    plain = client.get(url, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with client.stream("GET", url, headers={"Accept-Encoding": coding}) as answer:
        assert answer.headers["content-encoding"] == coding
        body = b"".join(answer.iter_raw())
    undone = (
        gzip.decompress(body)
        if coding == "gzip"
        else zstandard.ZstdDecompressor().decompressobj().decompress(body)
    )
    assert undone == plain.content
    assert len(body) < len(undone) / 5


@pytest.mark.parametrize("wanted", ["parquet", "arrow"])
def test_what_is_compressed_inside_is_not_compressed_again(client: TestClient, wanted: str) -> None:
    answer = client.get(f"/v1/trades?start=2024-08-08&format={wanted}")
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("url", ["/v1/trades?start=2024-08-08", "/v1/ohlcv/1m", "/v1/gaps"])
def test_what_a_client_has_already_is_304(client: TestClient, url: str) -> None:
    first = client.get(url)
    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = client.get(url, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert client.get(url, headers={"If-None-Match": 'W/"0"'}).status_code == 200
    more = "&" if "?" in url else "?"
    assert client.get(f"{url}{more}limit=7").headers["etag"] != tag
    other = client.get(f"{url}{more}fields=exchange", headers={"If-None-Match": tag})
    assert other.status_code == 200


def test_a_tag_changes_with_the_table(growing: TradeLake) -> None:
    with keyed(growing.settings) as client:
        tags = [client.get("/v1/trades").headers["etag"] for _ in range(2)]
        growing.add([Made(100, 2.5)])
        tags.append(client.get("/v1/trades").headers["etag"])
    assert tags[0] == tags[1] != tags[2]
