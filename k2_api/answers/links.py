"""How one answer leads to the next, as OpenAPI links: a program can follow them by the document."""

from __future__ import annotations

from typing import Any

_SNAPSHOT = "$response.body#/meta/snapshot_id"


def with_links(document: dict[str, Any]) -> dict[str, Any]:
    """The document with links: from a page to the next one, and to the same state of the table."""
    for operations in document["paths"].values():
        for operation in operations.values():
            names = [_key(p) for p in operation.get("parameters", ())]
            if "query.cursor" in names:
                operation["responses"]["200"]["links"] = _links(operation["operationId"], names)
    return document


def _links(operation: str, names: list[str]) -> dict[str, Any]:
    same = {
        name: f"$request.{name}" for name in names if name not in ("query.cursor", "query.as_of")
    }
    asked = {"query.as_of": "$request.query.as_of"} if "query.as_of" in names else {}
    following = {**same, **asked, "query.cursor": "$response.body#/meta/next_cursor"}
    found = {
        "next": {
            "operationId": operation,
            "parameters": following,
            "description": "The next page: all else as it was asked, with the cursor of this one.",
        }
    }
    if asked:
        found["sameState"] = {
            "operationId": operation,
            "parameters": {**same, "query.as_of": _SNAPSHOT},
            "description": "The same question of the very state that this answer was read from.",
        }
    return found


def _key(parameter: dict[str, Any]) -> str:
    return f"{parameter['in']}.{parameter['name']}"
