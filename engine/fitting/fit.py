"""fit: an embedder on interactions, told pass by pass where it learns in passes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from engine.checkpoints import Checkpoints
from engine.fitting.memory_estimate import check_memory
from engine.fitting.search_space import WATCHED
from engine.fitting.uninformative_items import without_silent
from engine.latent_space.space import Embedder, LatentSpace
from engine.progress import Progress
from engine.values.interactions import Interactions

Report = Callable[[int, float, float], None]  # pass from 1, its loss, its seconds


def fit(
    embedder: Embedder,
    interactions: Interactions,
    *,
    seed: int = 0,
    device: str = "cpu",
    report: Report | None = None,
    checkpoints: Checkpoints | None = None,
) -> LatentSpace:
    """The latent space. InputError, before anything is learnt, where the memory would not be enough.

    What is learnt in passes is learnt by every process that torchrun started.
    """
    learn = partial(_fitted, embedder, interactions, seed, device)
    if not embedder.abilities.resumable:
        return learn()
    from engine.embedders.training import data_parallel

    given = {"report": report, "checkpoints": checkpoints}
    return data_parallel.together(learn, **{name: value for name, value in given.items() if value is not None})


def _fitted(embedder: Embedder, interactions: Interactions, seed: int, device: str, **options: Any) -> LatentSpace:
    check_memory(embedder, interactions, device)
    return without_silent(embedder.fit(interactions, seed=seed, device=device, **options), interactions)


def passes_of(progress: Progress, what: str, start: float, end: float, embedder: Embedder) -> Report:
    """Passes as progress from `start` to `end`."""
    passes = int(getattr(embedder, WATCHED.get(embedder.name, "epochs"), 1))

    def report(done: int, loss: float, seconds: float) -> None:
        progress(f"{what}, pass {done}, loss {loss:.4g}", start + (end - start) * min(1.0, done / max(1, passes)))

    return report
