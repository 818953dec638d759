"""The guard put around an application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from k2_api.guard.door import Door
from k2_api.guard.guard import Guard

READABLE = (
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy"),
    *("Retry-After", "ETag", "K2-Snapshot-Id", "K2-Table", "K2-Freshness", "K2-Level"),
)


def install_guard(app: FastAPI, guard: Guard) -> None:
    """Let requests into ``app`` by the guard alone, which it then has as ``app.state.guard``."""
    app.state.guard = guard
    app.add_middleware(Door, guard=guard)
    if guard.settings.origins:
        # Outermost, because a page must be able to read why it was turned away.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=guard.settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["X-API-Key", "Authorization", "If-None-Match", "Content-Type"],
            expose_headers=READABLE,
            max_age=600,
        )
