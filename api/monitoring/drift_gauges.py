"""The drift gauges of /metrics: the newest drift report of each served model."""

from __future__ import annotations

from collections.abc import Mapping

from api.monitoring.metrics import Metrics, forget
from engine.store import model_reports
from engine.store.database.connections import Database
from indexing.refresh.live_space import LiveSpace


def set_drift(metrics: Metrics, live_spaces: Mapping[str, LiveSpace], database: Database) -> None:
    """A space whose served model has no drift report has no gauge, even if an earlier model had one."""
    with database.connect() as conn:
        for name, live in live_spaces.items():
            view = live.current()
            served = view.generation
            report = None if served is None else model_reports.latest_drift(conn, view.space.key, served.model)
            if report is not None:
                metrics.drift.labels(name).set(report["psi"])
                metrics.drift_alert.labels(name).set(int(report["alert"]))
            elif served is not None:
                for gauge in (metrics.drift, metrics.drift_alert):
                    forget(gauge, name)
