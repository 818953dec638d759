"""The HTTP side of the simulator: faults are shown and changed, histories answered or refused."""

from __future__ import annotations

import json
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from k2_feeds.simulator.dialects import klines
from k2_feeds.simulator.dialects.histories import answer, needs_key
from k2_feeds.simulator.disturbances import told
from k2_feeds.simulator.exchange import SimulatedExchange, Simulator
from k2_market.errors import UsageError

CONTROL = "/control"
NO_KEY = '{"code":-2014,"msg":"API-key format invalid."}'


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


def history(
    exchange: SimulatedExchange, connection: ServerConnection, request: Request
) -> Response:
    """What traded, trade by trade or in candles, in the exchange's REST words."""
    refused = too_many_requests(exchange, connection)
    if refused is not None:
        return refused
    url = urlsplit(request.path)
    if needs_key(url.path) and "X-MBX-APIKEY" not in request.headers:
        return connection.respond(HTTPStatus.UNAUTHORIZED, NO_KEY)
    tell = klines.answer if klines.exchange_of(url.path) else answer
    found = tell(url.path, dict(parse_qsl(url.query)), exchange.history)
    if found is None:
        return connection.respond(HTTPStatus.BAD_REQUEST, "Unknown symbol.\n")
    return json_response(connection, found)


def json_response(connection: ServerConnection, body: str) -> Response:
    """An answer of 200 with this JSON."""
    response = connection.respond(HTTPStatus.OK, body)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response
