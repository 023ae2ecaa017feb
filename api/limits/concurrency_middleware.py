"""Admission: every request but those of whoever watches passes the gate, unless its connection saw to that already."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from api.limits.concurrency_limit import Gate, Place
from api.monitoring.metrics import Metrics
from api.problems import problem

EXEMPT = ("/healthz", "/readyz", "/metrics")  # whoever watches must get through
FULL = "as many requests wait as may; ask again in a second"


class Admission:
    """ASGI middleware: 429 where the gate is full, 503 where the turn did not come in time."""

    def __init__(self, app: ASGIApp, metrics: Metrics, gate: Gate):
        self.app, self.metrics, self.gate = app, metrics, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in EXEMPT:
            await self.app(scope, receive, send)
            return
        place = scope.setdefault("state", {}).get("place")
        if place is not None:  # the connection's, which leaves it
            await self._within(place, scope, receive, send)
            return
        place = scope["state"]["place"] = self.gate.enter()
        if place is None:
            await self._refuse(429, FULL, scope, receive, send)
            return
        try:
            await self._within(place, scope, receive, send)
        finally:
            self.gate.leave(place)

    async def _within(self, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        if await place.come():
            await self.app(scope, receive, send)
        else:
            why = f"no turn within {place.patience_s:g} s; ask again in a second"
            await self._refuse(503, why, scope, receive, send)

    async def _refuse(self, status: int, why: str, scope: Scope, receive: Receive, send: Send) -> None:
        self.metrics.refused.labels(str(status)).inc()
        scope["state"]["counted"] = True
        await problem(status, why)(scope, receive, send)
