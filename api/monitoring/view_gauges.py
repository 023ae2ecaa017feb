"""The gauges of /metrics for each served space. Every worker sets them after each poll, whichever worker is scraped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from api.monitoring.metrics import Metrics
from indexing.live.view import LiveView
from indexing.refresh.live_space import LiveSpace
from indexing.refresh.maintenance import changed_shares


def set_view(
    metrics: Metrics,
    live_spaces: Mapping[str, LiveSpace],
    view: LiveView,
    recall: float | None,
    n_preset_problems: int,
) -> None:
    """Called after each poll and at each scrape; both set every gauge.

    Timestamps, not ages: the age of a worker that stopped polling keeps growing for whoever reads the gauge.
    """
    name, served, shares = view.space.name, view.generation, changed_shares(view)
    live = live_spaces.get(name)
    if live is not None:
        metrics.refreshed_at_s.labels(name).set(live.refreshed_at)
    metrics.delta_share.labels(name).set(shares.delta)
    metrics.tombstone_share.labels(name).set(shares.tombstones)
    metrics.stale.labels(name).set(int(view.stale))
    metrics.preset_problems.labels(name).set(n_preset_problems)
    if served is not None:
        built = datetime.strptime(served.generation.split("-")[0] + "+0000", "%Y%m%dT%H%M%S%z")
        metrics.built_at_s.labels(name).set(built.timestamp())
        unknown = view.space.weighting.vocabulary.unknown_words(served.manifest.get("kinds", {}))
        metrics.stored_unknown.labels(name).set(sum(unknown.values()))
    if recall is not None:
        metrics.sampled_recall.labels(name).set(recall)
    if name not in live_spaces:  # deleted during the poll
        metrics.forget(name)
