"""reindex: train, index, verify, publish, in one go; and its first half alone."""

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
class Reindexed:
    record: ModelRecord
    fit_seconds: float
    generation: str | None = None
    index_seconds: float | None = None
    peak_mb: int = 0  # of the process until the model was saved; on a GPU of its memory
    resumed: Sequence[str] = ()  # a sentence for each training that was killed before and went on

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
) -> Reindexed:
    """Learn from every event of a space and save the result as its next model version.

    One that is worse than popularity is saved as not publishable, unless `force`. Training that was killed goes on from
    `checkpoints`, which are removed once the model is saved.
    """
    from engine.embedders.training.peak_memory import peak_mb  # torch, which a server that publishes does without

    progress("read events", 0.0)
    with database.connect() as conn:
        columns = events.read_columns(conn, space.key)
        categories = items.categories(conn, space.key)
    now_us = _moment(columns, space, checkpoints)
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
    return Reindexed(record, trained.fit_seconds, peak_mb=peak_mb(device), resumed=resumed)


def _moment(columns: EventColumns, space: Space, checkpoints: Checkpoints | None) -> int:
    """Now in microseconds; where events count less with age, the now of the training of these events that was killed,
    as it would not go on with other weights."""
    now_us = time.time_ns() // 1000
    if checkpoints is None or space.weighting.half_life_days is None:
        return now_us
    digest = hashlib.sha256(repr(space.weighting).encode())
    for array in (columns.user_rows, columns.item_rows, columns.kind_codes, columns.values, columns.occurred_us):
        digest.update(array.tobytes())
    fingerprint = f"moment-{digest.hexdigest()[:32]}"
    if (kept := checkpoints.read(fingerprint)) is not None:
        return int(kept)
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
) -> Reindexed:
    """Train, index, verify and publish; nothing is published, and `generation` is None, when popularity is better."""
    made = train_version(
        database, space, embedder, seed=seed, device=device, force=force, progress=progress, checkpoints=checkpoints
    )
    if not made.record.publishable:
        return made
    return published(database, space, made, folder, recipe=recipe, device=device, progress=progress)


def published(
    database: Database, space: Space, made: Reindexed, folder: Path, *, recipe: str, device: str, progress: Progress
) -> Reindexed:
    """The second half: index a version that was learnt, verify and publish it."""
    started = time.perf_counter()
    version = made.record.version
    generation = build_generation(database, space, version, folder, recipe=recipe, device=device, progress=progress)
    publish(database, space, generation, folder)
    return replace(made, generation=generation, index_seconds=time.perf_counter() - started)


def check_publishable(record: ModelRecord) -> None:
    """BelowFloor for a version that was saved as worse than popularity."""
    if not record.publishable:
        beaten_by = (
            record.evaluation.get(POPULARITY_OF_ALL_TIMES) or record.evaluation["popularity"]
        )  # models of earlier versions
        ours, theirs = record.evaluation["recall@20"], beaten_by["recall@20"]
        raise BelowFloor(
            f"model version {record.version} has recall@20 {ours:.4f}, popularity of all times {theirs:.4f}; it is "
            "saved and not published; try another embedder, or --force"
        )
