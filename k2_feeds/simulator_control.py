"""The HTTP side of the simulator: what goes wrong is shown and changed, requests are refused."""

from __future__ import annotations

import json
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from k2_feeds.disturbances import told
from k2_feeds.simulated import SimulatedExchange, Simulator
from k2_market.errors import UsageError

CONTROL = "/control"


def control(simulator: Simulator, connection: ServerConnection, request: Request) -> Response:
    """Change rate and faults, and tell the state: ``/control?exchange=kraken&disconnect=5&rate=9``.

    Without ``exchange`` all are meant.
    """
    asked = dict(parse_qsl(urlsplit(request.path).query, keep_blank_values=True))
    named = asked.pop("exchange", None)
    simulator.rate = float(asked.pop("rate", simulator.rate))
    try:
        for name, value in asked.items():
            for exchange_name, exchange in simulator.exchanges.items():
                if named in (None, exchange_name):
                    exchange.disturbances.set(name, value)
    except UsageError as error:
        return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
    return connection.respond(HTTPStatus.OK, json.dumps(_state(simulator)))


def _state(simulator: Simulator) -> dict[str, object]:
    return {
        name: {
            "clients": len(exchange.clients),
            "frames": exchange.frames,
            "disconnects": exchange.disconnects,
            "made": {symbol: ids.ranges for symbol, ids in exchange.made.items()},
            "sent": {symbol: ids.ranges for symbol, ids in exchange.sent.items()},
            "faults": told(exchange.disturbances),
        }
        for name, exchange in simulator.exchanges.items()
    }


def too_many_requests(exchange: SimulatedExchange, connection: ServerConnection) -> Response | None:
    """The refusal of a request, if this one is to be refused."""
    seconds = exchange.disturbances.refuse()
    if seconds is None:
        return None
    response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests.\n")
    response.headers["Retry-After"] = str(seconds)
    return response
