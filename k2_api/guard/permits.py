"""What a route asks of whoever came in: the scopes of the key."""

from __future__ import annotations

from typing import Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from k2_api.guard.door import KEY
from k2_api.guard.keys import SCOPES
from k2_api.guard.refusals import MissingKey, ScopeMissing


def permit(connection: HTTPConnection, scope: str) -> None:
    """Raise ScopeMissing unless the key of this request has ``scope``, BreakerOpen while it is off.

    What a scope permits has the name of the scope in ``levels``.
    """
    key = connection.scope.get(KEY)
    if key is None:
        raise MissingKey(f"{connection.url.path} is for holders of a key.")
    if scope not in key.scopes:
        raise ScopeMissing(
            f"the key {key.name!r} lacks the scope {scope} ({SCOPES[scope]}); it has "
            f"{', '.join(key.scopes) or 'none'}. Make one that has it: "
            f"`k2 keys create NAME --scope {scope}`."
        )
    connection.app.state.guard.levels.require(scope)


def requires(scope: str) -> Any:
    """The dependency of a route, or a router, that is for keys with ``scope``."""

    async def permitted(connection: HTTPConnection) -> None:
        permit(connection, scope)

    return Depends(permitted)
