"""ConcurrencyMiddleware: applies the concurrency limit to each request whose connection did not apply it already."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from api.limits.concurrency_limit import ConcurrencyLimit, Slot
from api.monitoring.metrics import Metrics
from api.problems import problem

EXEMPT = ("/healthz", "/readyz", "/metrics")  # monitoring has to work during overload
OVERLOADED = "the server is overloaded and its queue is full; try again in a second"


class ConcurrencyMiddleware:
    """ASGI middleware: 429 when the limit is reached, 503 when a request waited too long for its turn."""

    def __init__(self, app: ASGIApp, metrics: Metrics, concurrency_limit: ConcurrencyLimit):
        self.app, self.metrics, self.concurrency_limit = app, metrics, concurrency_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in EXEMPT:
            await self.app(scope, receive, send)
            return
        slot = scope.setdefault("state", {}).get("slot")
        if slot is not None:  # the connection acquired the slot and releases it
            await self._run_in_turn(slot, scope, receive, send)
            return
        slot = scope["state"]["slot"] = self.concurrency_limit.acquire()
        if slot is None:
            await self._reject(429, OVERLOADED, scope, receive, send)
            return
        try:
            await self._run_in_turn(slot, scope, receive, send)
        finally:
            self.concurrency_limit.release(slot)

    async def _run_in_turn(self, slot: Slot, scope: Scope, receive: Receive, send: Send) -> None:
        if await slot.wait_for_turn():
            await self.app(scope, receive, send)
        else:
            detail = f"the server is overloaded: no turn within {slot.max_wait_s:g} s; try again in a second"
            await self._reject(503, detail, scope, receive, send)

    async def _reject(self, status: int, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
        self.metrics.refused.labels(str(status)).inc()
        scope["state"]["counted"] = True
        await problem(status, detail)(scope, receive, send)
