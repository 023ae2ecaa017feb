"""reindex of feature records: learn a codec, save it as a model version, index its vectors, publish."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.embedders import dense
from engine.store import features, models
from engine.store.database import Database
from engine.store.models import ModelRecord
from engine.store.spaces import Space
from engine.train_features import train_features
from indexing.build import build_generation
from indexing.publish import publish
from indexing.reindex import Progress, silent


@dataclass(frozen=True)
class FeaturesReindexed:
    record: ModelRecord
    fit_seconds: float
    generation: str | None = None
    index_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.record.version,
            "embedder": self.record.embedder,
            "dim": self.record.dim,
            "metric": self.record.metric,
            "published": self.generation is not None,
            "generation": self.generation,
            "evaluation": dict(self.record.evaluation),
            "fit_seconds": round(self.fit_seconds, 3),
            "index_seconds": None if self.index_seconds is None else round(self.index_seconds, 3),
        }


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
    progress: Progress = silent,
) -> FeaturesReindexed:
    """Learn from every feature record of a space and save the result; `features` chooses by their number."""
    embedder = None if name == dense.CHOICE else dense.make(name, params)
    progress("read records", 0.0)
    with database.begin() as conn:
        read_at, records = features.moment(conn), features.read(conn, space.key)
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
    return FeaturesReindexed(record, trained.fit_seconds)


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
    progress: Progress = silent,
) -> FeaturesReindexed:
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
    started = time.perf_counter()
    generation = build_generation(
        database, space, made.record.version, folder, recipe=recipe, device=device, progress=progress
    )
    publish(database, space, generation, folder)
    return FeaturesReindexed(made.record, made.fit_seconds, generation, time.perf_counter() - started)
