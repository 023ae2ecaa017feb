"""Prometheus metrics of one app; several workers share theirs through PROMETHEUS_MULTIPROC_DIR."""

from __future__ import annotations

import os
import time
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import GONE

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.request_seconds = Histogram(
            "nearfield_request_seconds",
            "Time to answer",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.search_seconds = Histogram(
            "nearfield_search_seconds",
            "Time of a search by the way it went: exact, subset, ann, filtered ann, fallback, gpu",
            ["space", "strategy"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.refused = Counter("nearfield_refused_requests", "Requests turned away", ["status"], registry=registry)
        self.events = Counter("nearfield_events", "Events received", ["space", "status"], registry=registry)
        self.recommended = Counter(
            "nearfield_recommended_items", "Items answered", ["space", "reason"], registry=registry
        )
        self.shortfalls = Counter(
            "nearfield_shortfalls", "Answers with fewer items than asked", ["space"], registry=registry
        )
        self.generation_age_s = self._gauge("generation_age_seconds", "Time since the served generation was built")
        self.refresh_age_s = self._gauge("live_age_seconds", "Feed lag: time since a worker last looked for changes")
        self.delta_share = self._gauge("delta_share", "Vectors beside the index, of those in it")
        self.tombstone_share = self._gauge("tombstone_share", "Rows of the index that searches pass over")
        self.sampled_recall = self._gauge("sampled_recall", "Recall of live searches against exact ones", "livemin")
        self.stale = self._gauge("stale", "1 while PostgreSQL is away and reads go on")
        self.drift = self._gauge(
            "drift_psi", "Largest population stability index of the newest drift report of the served model"
        )
        self.drift_alert = self._gauge(
            "drift_alert", "1 when that is above the threshold of the report and not by chance"
        )

    def _gauge(self, name: str, text: str, of_workers: Literal["livemax", "livemin"] = "livemax") -> Gauge:
        """By space; of several living workers the worst."""
        return Gauge(f"nearfield_{name}", text, ["space"], multiprocess_mode=of_workers, registry=self.registry)

    def observe_search(self, space: str, way: str, seconds: float) -> None:
        self.search_seconds.labels(space, way).observe(seconds)

    def text(self) -> bytes:
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            shared = CollectorRegistry()
            MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
            return generate_latest(shared)
        return generate_latest(self.registry)


class Timed:
    """ASGI middleware: the time of each answer by method, route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), GONE
        scope.setdefault("state", {})["arrived"] = started

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception:  # answered further out
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", "none")
            labels = self.metrics.request_seconds.labels(scope["method"], route, str(status))
            labels.observe(time.perf_counter() - started)
