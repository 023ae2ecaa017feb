"""The response of kpis: the stored figures of a model version and its newest drift report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.store import model_reports, models
from engine.store.database.connections import Connection


def kpis(conn: Connection, space_key: int, version: int) -> dict[str, Any]:
    """`kpis` holds the figures of a feature model, or the evaluation of a model of events."""
    record = models.get(conn, space_key, version)
    evaluation: Mapping[str, Any] = record.evaluation
    return {
        "model": record.version,
        "embedder": record.embedder,
        "dim": record.dim,
        "kpis": evaluation.get("kpis", evaluation),
        "comparison": {name: each for name, each in evaluation.items() if name != "kpis"}
        if "kpis" in evaluation
        else {},
        "drift": model_reports.latest_drift(conn, space_key, version),
    }
