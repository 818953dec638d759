"""The routes, by what they are about."""

from __future__ import annotations

from k2_api.routes import candles, live, market, quality, reference, replay, state

ROUTERS = (
    state.router,
    market.router,
    candles.router,
    reference.router,
    quality.router,
    replay.router,
    live.router,
)
