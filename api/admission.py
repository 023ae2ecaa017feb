"""Admission: so many requests are worked on at once, some more wait for a moment, the rest are told to come back."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from api.metrics import Metrics
from api.problems import problem

EXEMPT = ("/healthz", "/readyz", "/metrics")  # whoever watches must get through


class Admission:
    """ASGI middleware of one process: 429 where the queue is full, 503 where its wait took too long."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, active: int, waiting: int, wait_s: float):
        self.app, self.metrics = app, metrics
        self.free, self.queued, self.most_queued, self.wait_s = asyncio.Semaphore(active), 0, waiting, wait_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in EXEMPT:
            await self.app(scope, receive, send)
            return
        if self.free.locked() and self.queued >= self.most_queued:
            self.metrics.refused.labels("429").inc()
            await problem(429, f"{self.queued} requests are waiting already; ask again in a second")(
                scope, receive, send
            )
            return
        if not await self._admitted():
            self.metrics.refused.labels("503").inc()
            await problem(503, f"no turn within {self.wait_s:g} s; ask again in a second")(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            self.free.release()

    async def _admitted(self) -> bool:
        if not self.free.locked():
            return await self.free.acquire()
        self.queued += 1
        try:
            return await asyncio.wait_for(self.free.acquire(), self.wait_s)
        except TimeoutError:
            return False
        finally:
            self.queued -= 1
