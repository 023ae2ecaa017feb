"""Choosing and fitting an embedder within a given wall time.

If the time is too short for a search, the choice is the widest `spectral` that fits into it by an estimate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from engine.embedders.default_dims import default_dim
from engine.embedders.registry import make
from engine.errors import InputError
from engine.learning.trials import Choice
from engine.learning.tune import tune
from engine.progress import Progress, no_progress
from engine.values.interactions import Interactions
from engine.values.splits import Split

MIN_FITS = 4  # of the default, that a search needs at least: two or three trials and the final fit
PLANNED_SHARE = 0.8  # share of the time that is planned; the rest absorbs errors of the estimate
MIN_DIM = 16


@dataclass(frozen=True)
class TimeBudget:
    """A chooser for `seconds` of wall time, including the final fit."""

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise InputError(f"expected a budget above 0 seconds, got {self.seconds:g}", loc=("budget",))

    def choose(self, split: Split, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress) -> Choice:
        """The choice of `tune`, or a `spectral` with the reason if there is no time for a search. Raises as `tune`."""
        started = time.perf_counter()
        dim, took = widest_spectral(split.train, PLANNED_SHARE * self.seconds, device)
        left = PLANNED_SHARE * self.seconds - (time.perf_counter() - started)
        if MIN_FITS * took > left:
            reason = (
                f"spectral (dim {dim}), because it takes about {took:.1f} s and {max(left, 0):.0f} s "
                f"are too few for a search"
            )
            return Choice(make("spectral", {"dim": dim}), reason, ())
        return tune(split, left, seed=seed, device=device, progress=progress)


def widest_spectral(train: Interactions, seconds: float, device: str = "cpu") -> tuple[int, float]:
    """The widest `spectral`, up to the default, that should fit within `seconds`: its dim and estimated seconds."""
    from engine.learning.fit_time_estimate import seconds_of_spectral

    dims = [default_dim(len(train.items))]
    while dims[-1] > MIN_DIM:
        dims.append(dims[-1] * 3 // 4)
    estimates = seconds_of_spectral(train.matrix, dims, device)
    dim = next((each for each in dims if estimates[each] <= seconds), dims[-1])
    return dim, estimates[dim]
