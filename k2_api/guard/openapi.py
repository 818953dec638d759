"""The guard in the OpenAPI document: how to send a key, and how a request is turned away."""

from __future__ import annotations

from typing import Any

from k2_api.guard.headers import needs_key

PROBLEM = "application/problem+json"
SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
ALWAYS = {"414": "The address is longer than 8 KiB."}
WITH_KEY = {
    "401": "No API key, or one that is not known.",
    "403": "The key lacks the scope.",
    "429": "More requests than the key may make; see Retry-After and the RateLimit headers.",
    "503": "The tables cannot be read, a query took too long, too much is asked at once or what is "
    "needed is switched off (see `code`); Retry-After says when to ask again.",
}
WITH_BODY = {
    "408": "The body did not come in time.",
    "413": "The body, or what it asks for, is too large.",
}
HEADERS = {
    "401": {"WWW-Authenticate": "Bearer"},
    "429": {
        "Retry-After": "Seconds to wait.",
        "RateLimit-Limit": "Requests in a window.",
        "RateLimit-Remaining": "Requests that are left of it.",
        "RateLimit-Reset": "Seconds until it is whole again.",
        "RateLimit-Policy": "The limit and its window, as 100;w=60.",
    },
    "503": {"Retry-After": "Seconds to wait."},
}


def describe_guard(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the schemes of keys, and on each operation what the guard may answer."""
    document["components"]["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            statuses = dict(ALWAYS)
            if needs_key(path):
                operation["security"] = [{name: []} for name in SCHEMES]
                statuses |= WITH_KEY
            if method == "post":
                statuses |= WITH_BODY
            for status, description in statuses.items():
                _add(operation["responses"], status, description)
    return document


def _add(responses: dict[str, Any], status: str, description: str) -> None:
    response = responses.setdefault(
        status,
        {
            "description": description,
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        },
    )
    response["headers"] = {
        name: {"description": text, "schema": {"type": "string"}}
        for name, text in HEADERS.get(status, {}).items()
    }
