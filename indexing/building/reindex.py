"""reindex: train, index, verify and publish; `train_version` is the training alone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.checkpoints import Checkpoints
from engine.errors import BelowFloor
from engine.evaluation.evaluate_embedder import POPULARITY_OF_ALL_TIMES
from engine.latent_space.space import Embedder
from engine.learning.train import train
from engine.learning.trials import Chooser
from engine.progress import Progress, no_progress
from engine.store import events, items, models
from engine.store.database.connections import Database
from engine.store.models import ModelRecord
from engine.store.spaces import Space
from engine.values.events import EventColumns
from indexing.building.build import build_generation
from indexing.building.publish import publish


@dataclass(frozen=True)
class ReindexResult:
    record: ModelRecord
    fit_seconds: float
    generation: str | None = None
    index_seconds: float | None = None
    peak_mb: int = 0  # peak memory of the process until the model was saved; GPU memory where trained on a GPU
    resumed: Sequence[str] = ()  # a sentence for each training that was resumed from a checkpoint

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
            "peak_mb": self.peak_mb,
            "resumed": list(self.resumed),
        }


def train_version(
    database: Database,
    space: Space,
    embedder: Embedder | Chooser,
    *,
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
    progress: Progress = no_progress,
    checkpoints: Checkpoints | None = None,
) -> ReindexResult:
    """Train on all events of a space and save the result as its next model version.

    A model that is worse than popularity is saved as not publishable, unless `force`. A killed training resumes from
    `checkpoints`, which are removed once the model is saved.
    """
    from engine.embedders.training.peak_memory import (
        peak_mb,  # imports torch, which a server that only publishes must not load
    )

    progress("read events", 0.0)
    with database.connect() as conn:
        columns = events.read_columns(conn, space.key)
        categories = items.categories(conn, space.key)
    now_us = _training_time_us(columns, space, checkpoints)
    trained = train(
        columns, embedder, space.weighting, now_us=now_us, seed=seed, device=device, progress=progress,
        checkpoints=checkpoints, categories=categories,
    )  # fmt: skip
    with database.begin() as conn:
        record = models.save(
            conn,
            space.key,
            embedder=trained.embedder,
            params=trained.params,
            space=trained.space,
            evaluation=trained.evaluation,
            publishable=trained.beats_popularity or force,
        )
    if checkpoints is not None:
        checkpoints.delete_all()
    resumed = tuple(checkpoints.messages) if checkpoints is not None else ()
    return ReindexResult(record, trained.fit_seconds, peak_mb=peak_mb(device), resumed=resumed)


def _training_time_us(columns: EventColumns, space: Space, checkpoints: Checkpoints | None) -> int:
    """The reference time in microseconds for event ages: now, or that of a killed training on the same events.

    Where weights depend on age, a resumed training needs the same weights, hence the same reference time.
    """
    now_us = time.time_ns() // 1000
    if checkpoints is None or space.weighting.half_life_days is None:
        return now_us
    digest = hashlib.sha256(repr(space.weighting).encode())
    for array in (columns.user_rows, columns.item_rows, columns.kind_codes, columns.values, columns.occurred_us):
        digest.update(array.tobytes())
    fingerprint = f"moment-{digest.hexdigest()[:32]}"
    if (saved := checkpoints.read(fingerprint)) is not None:
        return int(saved)
    checkpoints.write(fingerprint, str(now_us).encode())
    return now_us


def reindex(
    database: Database,
    space: Space,
    embedder: Embedder | Chooser,
    folder: Path,
    *,
    recipe: str = "auto",
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
    progress: Progress = no_progress,
    checkpoints: Checkpoints | None = None,
) -> ReindexResult:
    """Train, index, verify and publish. If popularity is better, nothing is published and `generation` is None."""
    trained_version = train_version(
        database, space, embedder, seed=seed, device=device, force=force, progress=progress, checkpoints=checkpoints
    )
    if not trained_version.record.publishable:
        return trained_version
    return index_and_publish(database, space, trained_version, folder, recipe=recipe, device=device, progress=progress)


def index_and_publish(
    database: Database,
    space: Space,
    trained_version: ReindexResult,
    folder: Path,
    *,
    recipe: str,
    device: str,
    progress: Progress,
) -> ReindexResult:
    """Index a trained version, verify and publish it."""
    started = time.perf_counter()
    version = trained_version.record.version
    generation = build_generation(database, space, version, folder, recipe=recipe, device=device, progress=progress)
    publish(database, space, generation, folder)
    return replace(trained_version, generation=generation, index_seconds=time.perf_counter() - started)


def check_publishable(record: ModelRecord) -> None:
    """BelowFloor for a version that is saved as worse than popularity."""
    if not record.publishable:
        beaten_by = (
            record.evaluation.get(POPULARITY_OF_ALL_TIMES) or record.evaluation["popularity"]  # older models
        )
        ours, theirs = record.evaluation["recall@20"], beaten_by["recall@20"]
        raise BelowFloor(
            f"model version {record.version} has recall@20 {ours:.4f}, popularity of all times {theirs:.4f}; it is "
            "saved and not published; try another embedder, or --force"
        )
