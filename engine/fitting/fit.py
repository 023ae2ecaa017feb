"""fit: an embedder on interactions, told pass by pass where it learns in passes."""

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
    """The latent space. InputError, before anything is learnt, where the memory would not be enough.

    What is learnt in passes is learnt by every process that torchrun started.
    """
    learn = partial(_check_and_fit, embedder, interactions, seed, device)
    if not embedder.abilities.resumable:
        return learn()
    from engine.embedders.training import data_parallel

    given = {"report": report, "checkpoints": checkpoints}
    return data_parallel.fit_on_all_ranks(learn, **{name: value for name, value in given.items() if value is not None})


def _check_and_fit(
    embedder: Embedder, interactions: Interactions, seed: int, device: str, **options: Any
) -> LatentSpace:
    check_memory(embedder, interactions, device)
    return without_uninformative_items(embedder.fit(interactions, seed=seed, device=device, **options), interactions)
