"""Admission: so many requests are worked on at once, some more wait for a moment, the rest are told to come back.

A burst may wait its time. A queue that was not empty for as long is no burst: whoever waits in it will be answered
late, and so would everybody after them; so as many wait as are worked on, for a tenth of the time, and the rest is
refused at once (after Nichols and Jacobson, Controlling Queue Delay, 2012). Figures are in scripts/LOG.md.
"""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from api.metrics import Metrics
from api.problems import problem

EXEMPT = ("/healthz", "/readyz", "/metrics")  # whoever watches must get through
STANDING = 0.1  # of the wait, in a queue that stands


class Admission:
    """ASGI middleware of one process: 429 where the queue is full, 503 where its wait took too long."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, active: int, waiting: int, wait_s: float):
        self.app, self.metrics = app, metrics
        self.free, self.active, self.queued = asyncio.Semaphore(active), active, 0
        self.most_queued, self.wait_s = waiting, wait_s
        self.emptied = time.monotonic()  # when nobody waited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in EXEMPT:
            await self.app(scope, receive, send)
            return
        refusal = await self._refusal()
        if refusal is not None:
            status, why = refusal
            self.metrics.refused.labels(str(status)).inc()
            scope.setdefault("state", {})["refused"] = True
            await problem(status, f"{why}; ask again in a second")(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            self.free.release()

    async def _refusal(self) -> tuple[int, str] | None:
        """Status and reason; None once this request has its place."""
        now = time.monotonic()
        if self.queued == 0:
            self.emptied = now
        if not self.free.locked():
            await self.free.acquire()
            return None
        most, patience_s = self.most_queued, self.wait_s
        if now - self.emptied > self.wait_s:
            most, patience_s = min(most, self.active), STANDING * patience_s
        if self.queued >= most:
            return 429, f"{self.queued} requests are waiting already"
        self.queued += 1
        try:
            async with asyncio.timeout(patience_s):
                await self.free.acquire()
        except TimeoutError:
            return 503, f"no turn within {patience_s:g} s"
        finally:
            self.queued -= 1
        return None
