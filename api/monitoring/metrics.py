"""The Prometheus metrics of one app. Workers share their values through PROMETHEUS_MULTIPROC_DIR."""

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

from api.problems import CLIENT_CLOSED

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
MultiprocessMode = Literal["livemax", "livemin", "livemostrecent"]  # over the live workers


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.request_seconds = Histogram(
            "nearfield_request_seconds",
            "Time of a response",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.search_seconds = Histogram(
            "nearfield_search_seconds",
            "Time of a search by strategy: exact, subset, ann, filtered ann, fallback, gpu",
            ["space", "strategy"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.refused = Counter(
            "nearfield_refused_requests", "Requests rejected because of load", ["status"], registry=registry
        )
        self.events = Counter("nearfield_events", "Events received", ["space", "status"], registry=registry)
        self.unknown_kinds = Counter(
            "nearfield_events_of_unknown_kind",
            "Events received of a kind that the weighting does not list; they have weight 0 or `other`",
            ["space"],
            registry=registry,
        )
        self.future_events = Counter(
            "nearfield_future_events_refused",
            "Events rejected as in the future: every event when this server's clock is more than a day behind",
            ["space"],
            registry=registry,
        )
        self.recommended = Counter(
            "nearfield_recommended_items", "Items in responses", ["space", "reason"], registry=registry
        )
        self.shortfalls = Counter(
            "nearfield_shortfalls", "Responses with fewer items than requested", ["space"], registry=registry
        )
        self.shelves_written = Counter("nearfield_shelves_written", "Served shelves stored", registry=registry)
        self.shelves_dropped = Counter(
            "nearfield_shelves_dropped", "Served shelves not stored: too many waited, or refused", registry=registry
        )
        self.shelves_waiting = Gauge(
            "nearfield_shelves_waiting",
            "Served shelves that wait to be stored, of all live workers",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._declare_gauges()

    def _declare_gauges(self) -> None:
        self.built_at_s = self._gauge(
            "generation_built_timestamp_seconds",
            "When the served generation was built; the oldest of all workers",
            "livemin",
        )
        self.refreshed_at_s = self._gauge(
            "live_refreshed_timestamp_seconds",
            "When changes were last read, the oldest of all workers: the time since then is the feed lag",
            "livemin",
        )
        self.delta_share = self._gauge(
            "delta_share", "Vectors in the delta, as a share of those in the index", "livemax"
        )
        self.tombstone_share = self._gauge(
            "tombstone_share", "Deleted or replaced rows, as a share of the index", "livemax"
        )
        self.sampled_recall = self._gauge(
            "sampled_recall", "Recall of sampled live searches against exact search", "livemin"
        )
        self.preset_problems = self._gauge(
            "preset_problems",
            "Placements, pages, rules and segments that cannot be used, or that refer to fields that no item has",
            "livemax",
        )
        self.stored_unknown = self._gauge(
            "stored_events_of_unknown_kind",
            "Stored events of a kind that the weighting does not list, when the served generation was built",
            "livemax",
        )
        self.stale = self._gauge("stale", "1 while PostgreSQL is unavailable and reads go on", "livemax")
        # Read from PostgreSQL by the worker that is scraped: the most recent value is the right one.
        self.drift = self._gauge(
            "drift_psi",
            "Largest population stability index of the newest drift report of the served model",
            "livemostrecent",
        )
        self.drift_alert = self._gauge(
            "drift_alert",
            "1 when the drift is above the threshold of the report and significant",
            "livemostrecent",
        )
        self.gpu_free_bytes = Gauge(
            "nearfield_gpu_free_bytes",
            "Free memory of the GPU that searches, by its driver",
            ["gpu"],
            multiprocess_mode="livemostrecent",
            registry=self.registry,
        )
        self.clock_skew_s = Gauge(
            "nearfield_clock_skew_seconds",
            "PostgreSQL's clock minus this server's clock",
            multiprocess_mode="livemostrecent",
            registry=self.registry,
        )
        self._space_gauges = (
            *(self.built_at_s, self.refreshed_at_s, self.delta_share, self.tombstone_share, self.sampled_recall),
            *(self.stored_unknown, self.stale, self.drift, self.drift_alert, self.preset_problems),
        )

    def _gauge(self, name: str, text: str, mode: MultiprocessMode) -> Gauge:
        return Gauge(f"nearfield_{name}", text, ["space"], multiprocess_mode=mode, registry=self.registry)

    def forget(self, space: str) -> None:
        """Remove the gauges of a space that this worker no longer serves."""
        for gauge in self._space_gauges:
            forget(gauge, space)

    def observe_search(self, space: str, strategy: str, seconds: float) -> None:
        self.search_seconds.labels(space, strategy).observe(seconds)

    def text(self) -> bytes:
        is_shared = bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
        collector = MultiProcessCollector(None) if is_shared else self.registry  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        registry.register(FiniteGauges(collector))
        return generate_latest(registry)


def forget(gauge: Gauge, *labels: str) -> None:
    """Set a gauge to an infinite value that means "no value": a worker cannot remove a gauge from the shared files. The
    sign is chosen so that the value of any other worker wins."""
    gauge.labels(*labels).set(-math.inf if gauge._multiprocess_mode == "livemax" else math.inf)


@dataclass(frozen=True)
class FiniteGauges:
    """The metrics of a collector without the gauges that `forget` removed."""

    collector: Any

    def collect(self) -> Iterator[Metric]:
        for metric in self.collector.collect():
            if metric.type == "gauge":
                metric.samples = [each for each in metric.samples if math.isfinite(each.value)]
            yield metric


class RequestMetrics:
    """ASGI middleware: measures the time of each response by method, route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), CLIENT_CLOSED
        scope.setdefault("state", {})["arrived"] = started

        async def send_and_watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_watch)
        except Exception:  # RequestLog sends the response
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", "none")
            labels = self.metrics.request_seconds.labels(scope["method"], route, str(status))
            labels.observe(time.perf_counter() - started)
