"""Where a client can put a text: every parameter of every operation, from the OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from fastapi.testclient import TestClient
from httpx2 import Response

# With these an operation answers 200; parameters that are not required are left out.
GOOD = {"timeframe": "1m", "symbol": "BTC-USDT", "date": "2024-08-08"}
RANGE = {"start": "2024-08-08", "end": "2024-08-10"}
OK, PROBLEM = 200, "application/problem+json"


@dataclass(frozen=True)
class Operation:
    """A method on a path, with its parameters by place (path, query, header) and name."""

    method: str
    path: str
    parameters: dict[tuple[str, str], dict[str, Any]] = field(hash=False)
    required: dict[str, str] = field(default_factory=dict, hash=False)
    """What a query must have, with good values."""

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    def has(self, name: str) -> bool:
        return ("query", name) in self.parameters

    def url(self, **path: str) -> str:
        """The address, with these texts in the path."""
        said = {**GOOD, **path}
        return re.sub(r"\{(\w+)\}", lambda m: quote(said[m[1]], safe=""), self.path)

    def ask(self, client: TestClient, place: str, name: str, text: str) -> Response:
        """What is answered when this text stands there and all else is well."""
        more = dict(self.required)
        if self.has("start"):
            more |= RANGE if name not in RANGE else {}
            more.pop(name, None)
        if place == "path":
            return client.request(self.method, self.url(**{name: text}), params=more)
        if place == "header":
            headers = {name.encode(): text.encode()}
            return client.request(self.method, self.url(), params=more, headers=headers)
        return client.request(self.method, self.url(), params={**more, name: text})


def operations(client: TestClient) -> list[Operation]:
    """All operations that are asked without a body."""
    document = client.get("/openapi.json").json()
    return [
        Operation(
            method,
            path,
            {(p["in"], p["name"]): p["schema"] for p in operation.get("parameters", [])},
            {
                p["name"]: (GOOD | RANGE)[p["name"]]
                for p in operation.get("parameters", [])
                if p["in"] == "query" and p.get("required")
            },
        )
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "requestBody" not in operation and path != "/v1/live"
    ]


def places(client: TestClient) -> Iterator[tuple[Operation, str, str]]:
    """Every operation with every place and name of a parameter."""
    for operation in operations(client):
        for place, name in operation.parameters:
            if name == "format" and operation.path.endswith("/count"):
                continue  # a count tells the size in every format, whichever is named
            yield operation, place, name


def rows(response: Response) -> list[Any]:
    """The rows of a good answer, whether they came as a page, as lines or counted."""
    if response.headers["content-type"].startswith("application/x-ndjson"):
        messages = [json.loads(line) for line in response.text.splitlines()]
        return [m for m in messages if m.get("type") != "end"]
    found = response.json()["data"]
    if isinstance(found, dict) and "bytes" in found:
        return [None] * int(found["rows"])
    return found if isinstance(found, list) else [found]


def problem_with(response: Response, *statuses: int) -> str | None:
    """What is wrong with an answer that is to be a problem with one of these statuses."""
    if response.status_code not in statuses:
        return f"{response.status_code} {response.text[:200]}"
    if response.headers["content-type"] != PROBLEM:
        return f"comes as {response.headers['content-type']}"
    body = response.json()
    if body["status"] != response.status_code or not body["detail"]:
        return f"says {body}"
    return None
