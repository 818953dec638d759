"""The server around the application: heartbeats of WebSockets, and an end in good order."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from k2_api.guard.connections import IDLE_S, BoundedHttp
from k2_api.live.settings import LiveSettings

# What is still being answered when the server stops is given so long.
STOP_WITHIN_S = 4
# Beyond this uvicorn reads no message of a client at all; what is too long is answered below it.
_MOST_READ = 65_536


class Server(uvicorn.Server):
    """Serves an application of ``create_app``; live streams end with 1001 when it stops."""

    def __init__(self, app: FastAPI) -> None:
        live: LiveSettings = app.state.live_settings
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                http=BoundedHttp,
                timeout_keep_alive=IDLE_S,
                server_header=False,
                timeout_graceful_shutdown=STOP_WITHIN_S,
                ws_max_size=_MOST_READ,
                ws_ping_interval=live.heartbeat_s,
                ws_ping_timeout=live.heartbeat_s,
                # It would cost each reader memory and time for what is encoded once for all.
                ws_per_message_deflate=False,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End live streams, then everything else, also what a client does not take."""
        await self._app.state.live.stop()
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
