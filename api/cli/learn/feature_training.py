"""train and reindex for a space of feature records instead of events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.cli.terminal.output import out, table
from engine.embedders.feature_embedders import registry
from engine.store import events, features
from engine.store.database.connections import Database
from engine.store.spaces import Space

AUTO = "auto"
KPI_LABELS = {  # in the order of the table
    "reconstruction_error": "reconstruction error",
    "explained_variance": "explained variance",
    "reduction_ratio": "reduction ratio",
    "silhouette": "silhouette",
    "trustworthiness": "trustworthiness",
    "encode_ms_p50": "encode ms, p50",
    "encode_ms_p99": "encode ms, p99",
    "active_units": "active units",
    "codebook_use": "codebook use",
    "codebook_perplexity": "codebook perplexity",
}


def learns_from_features(database: Database, space: Space, embedder: str) -> bool:
    """True for an embedder of records, and for `auto` in a space that has records and no events."""
    if embedder != AUTO:
        return registry.is_feature_embedder(embedder)
    with database.connect() as conn:
        return features.schema(conn, space.key) is not None and events.count(conn, space.key) == 0


def feature_embedder(embedder: str) -> str:
    """The name in `feature_embedders.registry`, where the automatic choice has another name."""
    return registry.AUTO_FEATURES if embedder == AUTO else embedder


def print_evaluation(evaluation: Mapping[str, Any]) -> None:
    """The reason for the embedder, its error beside pca, and the KPIs of the version."""
    out.print(evaluation["choice"], markup=False)
    if "pca_held_out_error" in evaluation:
        error, pca_error = evaluation["held_out_error"], evaluation["pca_held_out_error"]
        out.print(f"held-out error {error:.4f}, pca of as many dimensions {pca_error:.4f}")
    for note in ("dropped", "note"):
        if note in evaluation:
            out.print(evaluation[note], markup=False)
    kpis = evaluation["kpis"]
    labels = {**KPI_LABELS, "silhouette": f"silhouette by {kpis['silhouette_by']}"}
    table(("figure", "value"), [(label, kpis[name]) for name, label in labels.items() if name in kpis])
