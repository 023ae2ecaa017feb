"""train and reindex where feature records are learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.cli.terminal.output import out, table
from engine.embedders.feature_embedders import registry
from engine.store import events, features
from engine.store.database.connections import Database
from engine.store.spaces import Space

AUTO = "auto"
SHOWN = {
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
    """Whether the embedder is one of records, or is to be chosen and the space has records and no events."""
    if embedder != AUTO:
        return registry.is_dense(embedder)
    with database.connect() as conn:
        return features.schema(conn, space.key) is not None and events.count(conn, space.key) == 0


def chosen(embedder: str) -> str:
    """The name that the dense embedders know: auto leaves the choice to them."""
    return registry.CHOICE if embedder == AUTO else embedder


def show(evaluation: Mapping[str, Any]) -> None:
    """Why this embedder, how it does beside pca, and the figures of the version."""
    out.print(evaluation["choice"], markup=False)
    if "pca_held_out_error" in evaluation:
        ours, theirs = evaluation["held_out_error"], evaluation["pca_held_out_error"]
        out.print(f"held-out error {ours:.4f}, pca of as many dimensions {theirs:.4f}")
    for note in ("dropped", "note"):
        if note in evaluation:
            out.print(evaluation[note], markup=False)
    figures = evaluation["kpis"]
    names = {**SHOWN, "silhouette": f"silhouette by {figures['silhouette_by']}"}
    table(("figure", "value"), [(label, figures[name]) for name, label in names.items() if name in figures])
