"""reindex for feature records: train a codec, save it as a model version, index its vectors, publish."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.embedders.feature_embedders import registry
from engine.learning.train_features import train_features
from engine.progress import Progress, no_progress
from engine.store import features, models
from engine.store.database.connections import Database
from engine.store.spaces import Space
from indexing.building.reindex import ReindexResult, index_and_publish


def train_feature_version(
    database: Database,
    space: Space,
    name: str,
    params: Mapping[str, str | float | int] | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
    keep_constant: bool = False,
    normal: str | None = None,
    progress: Progress = no_progress,
) -> ReindexResult:
    """Train on all feature records of a space and save the result; the name `features` chooses by their number."""
    from engine.embedders.training.peak_memory import peak_mb  # imports torch, see `reindex`

    embedder = None if name == registry.AUTO_FEATURES else registry.make(name, params)
    progress("read records", 0.0)
    with database.begin() as conn:
        read_at, records = features.lock_and_get_time(conn, space.key), features.read(conn, space.key)
    trained = train_features(
        records,
        embedder,
        seed=seed,
        device=device,
        keep_constant=keep_constant,
        normal=normal,
        progress=progress,
    )
    with database.begin() as conn:
        record = models.save(
            conn,
            space.key,
            embedder=trained.embedder,
            params=trained.params,
            space=trained.space,
            evaluation={**trained.evaluation, "records_read_at": read_at.isoformat()},
            publishable=True,
        )
    return ReindexResult(record, trained.fit_seconds, peak_mb=peak_mb(device))


def reindex_features(
    database: Database,
    space: Space,
    name: str,
    folder: Path,
    params: Mapping[str, str | float | int] | None = None,
    *,
    recipe: str = "auto",
    seed: int = 0,
    device: str = "cpu",
    keep_constant: bool = False,
    normal: str | None = None,
    progress: Progress = no_progress,
) -> ReindexResult:
    """Train, index, verify and publish, as `reindex` does for interactions."""
    made = train_feature_version(
        database,
        space,
        name,
        params,
        seed=seed,
        device=device,
        keep_constant=keep_constant,
        normal=normal,
        progress=progress,
    )
    return index_and_publish(database, space, made, folder, recipe=recipe, device=device, progress=progress)
