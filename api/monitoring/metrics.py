"""Prometheus metrics of one app; several workers share theirs through PROMETHEUS_MULTIPROC_DIR."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import GONE

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
Workers = Literal["livemax", "livemin", "livemostrecent"]  # of the living ones the largest, least or last set


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
        self.unknown_kinds = Counter(
            "nearfield_events_of_unknown_kind",
            "Events received that weigh nothing, as nobody has said what their kind is worth",
            ["space"],
            registry=registry,
        )
        self.future_events = Counter(
            "nearfield_future_events_refused",
            "Events refused as of the future: all of them where this server's clock is more than a day behind",
            ["space"],
            registry=registry,
        )
        self.recommended = Counter(
            "nearfield_recommended_items", "Items answered", ["space", "reason"], registry=registry
        )
        self.shortfalls = Counter(
            "nearfield_shortfalls", "Answers with fewer items than asked", ["space"], registry=registry
        )
        self._declare_gauges()

    def _declare_gauges(self) -> None:
        self.built_at_s = self._gauge(
            "generation_built_timestamp_seconds",
            "When the served generation was built, of workers the oldest",
            "livemin",
        )
        self.refreshed_at_s = self._gauge(
            "live_refreshed_timestamp_seconds",
            "When changes were last looked for, of workers the longest ago: the time since is the feed lag",
            "livemin",
        )
        self.delta_share = self._gauge("delta_share", "Vectors beside the index, of those in it", "livemax")
        self.tombstone_share = self._gauge("tombstone_share", "Rows of the index that searches pass over", "livemax")
        self.sampled_recall = self._gauge("sampled_recall", "Recall of live searches against exact ones", "livemin")
        self.stored_unknown = self._gauge(
            "stored_events_of_unknown_kind",
            "Events of a kind that nobody has said the worth of, when the served generation was built",
            "livemax",
        )
        self.stale = self._gauge("stale", "1 while PostgreSQL is away and reads go on", "livemax")
        # of PostgreSQL, read by whoever is scraped: the last to read it knows
        self.drift = self._gauge(
            "drift_psi",
            "Largest population stability index of the newest drift report of the served model",
            "livemostrecent",
        )
        self.drift_alert = self._gauge(
            "drift_alert",
            "1 when that is above the threshold of the report and not by chance",
            "livemostrecent",
        )
        self.gpu_free_bytes = Gauge(
            "nearfield_gpu_free_bytes",
            "Free memory of the GPU that searches, as its driver tells",
            ["gpu"],
            multiprocess_mode="livemostrecent",
            registry=self.registry,
        )
        self.clock_skew_s = Gauge(
            "nearfield_clock_skew_seconds",
            "PostgreSQL's clock less that of this server",
            multiprocess_mode="livemostrecent",
            registry=self.registry,
        )
        self._of_spaces = (
            *(self.built_at_s, self.refreshed_at_s, self.delta_share, self.tombstone_share, self.sampled_recall),
            *(self.stored_unknown, self.stale, self.drift, self.drift_alert),
        )

    def _gauge(self, name: str, text: str, of_workers: Workers) -> Gauge:
        return Gauge(f"nearfield_{name}", text, ["space"], multiprocess_mode=of_workers, registry=self.registry)

    def forget(self, space: str) -> None:
        """A space that this worker serves no more has no gauges of it."""
        for gauge in self._of_spaces:
            forget(gauge, space)

    def observe_search(self, space: str, way: str, seconds: float) -> None:
        self.search_seconds.labels(space, way).observe(seconds)

    def text(self) -> bytes:
        shared = bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
        found = MultiProcessCollector(None) if shared else self.registry  # type: ignore[no-untyped-call]
        told = CollectorRegistry()
        told.register(Known(found))
        return generate_latest(told)


def forget(gauge: Gauge, *labels: str) -> None:
    """Workers cannot remove a gauge from what they share. This stands for none, and wins over no other worker's."""
    gauge.labels(*labels).set(-math.inf if gauge._multiprocess_mode == "livemax" else math.inf)


@dataclass(frozen=True)
class Known:
    """What a collector found, without the gauges that were forgotten."""

    found: Any

    def collect(self) -> Iterator[Metric]:
        for metric in self.found.collect():
            if metric.type == "gauge":
                metric.samples = [each for each in metric.samples if math.isfinite(each.value)]
            yield metric


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
