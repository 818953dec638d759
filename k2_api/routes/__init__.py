"""The routes, by what they are about."""

from __future__ import annotations

from k2_api.routes import (
    aggregations,
    candles,
    counts,
    live,
    market,
    metrics,
    quality,
    reference,
    replay,
    state,
)

ROUTERS = (
    state.router,
    metrics.router,
    market.router,
    candles.router,
    aggregations.router,
    reference.router,
    quality.router,
    counts.router,
    replay.router,
    live.router,
)
