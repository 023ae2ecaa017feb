"""Fit an embedder on interactions: memory check, pass reports, checkpoints, and data-parallel training."""

from __future__ import annotations

from functools import partial
from typing import Any

from engine.checkpoints import Checkpoints
from engine.fitting.memory_estimate import check_memory
from engine.fitting.training_passes import PassReport
from engine.fitting.uninformative_items import without_uninformative_items
from engine.latent_space.space import Embedder, LatentSpace
from engine.values.interactions import Interactions


def fit(
    embedder: Embedder,
    interactions: Interactions,
    *,
    seed: int = 0,
    device: str = "cpu",
    report: PassReport | None = None,
    checkpoints: Checkpoints | None = None,
) -> LatentSpace:
    """The latent space of `interactions`. Raises InputError, before training, if memory is not sufficient.

    An embedder that learns in passes is trained by all processes that torchrun started.
    """
    run = partial(_check_and_fit, embedder, interactions, seed, device)
    if not embedder.abilities.resumable:
        return run()
    from engine.embedders.training import data_parallel

    options = {"report": report, "checkpoints": checkpoints}
    given = {name: value for name, value in options.items() if value is not None}
    return data_parallel.fit_on_all_ranks(run, **given)


def _check_and_fit(
    embedder: Embedder, interactions: Interactions, seed: int, device: str, **options: Any
) -> LatentSpace:
    check_memory(embedder, interactions, device)
    return without_uninformative_items(embedder.fit(interactions, seed=seed, device=device, **options), interactions)
