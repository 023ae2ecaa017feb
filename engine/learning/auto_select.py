"""auto: a short race of cheap models on validation data, chosen by the size of the data. The best one is told with why.

Models of one factorisation share it (`engine.embedders.factorisation.svd_cache`), the widest first, so ranks and
filters cost little more than scoring them. Where it is known when things happened, the winner runs again with what
sells, and what sells of late, counting less or more. A race that was killed goes on where it was, if it has
checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from engine.checkpoints import Checkpoints
from engine.embedders.default_dims import DEFAULT_SPHERE_DIM, default_dim
from engine.embedders.factorisation.svd_cache import svd_cache
from engine.embedders.registry import make
from engine.errors import NearfieldError
from engine.evaluation.validation_set import ValidationSet, validation_set
from engine.fitting.fit import fit
from engine.latent_space.space import Embedder
from engine.learning.auto_select_checkpoint import NO_CHECKPOINT, RaceCheckpoint
from engine.learning.search_space import DEEP_BLEND, DEEP_BLEND_ITEMS
from engine.learning.trials import MARGIN, Choice, Params, Trial, best_trial, describe, smallest_near_best
from engine.progress import Progress, no_progress
from engine.values.interactions import Interactions
from engine.values.splits import Split

AUTO = "auto"
MIN_USERS = 20  # with test items; below, the race is noise
MAX_CELLS = 5_000_000  # raced on; of more, a random part of the users
MAX_ITEMS_WITH_WIDE = 6_000  # the closed form of all item pairs pays on small catalogues
TREND_EMBEDDERS = ("spectral", "blend")
TRENDS = (0.0, 0.5, 1.0)
OUT_EXPONENT_INCREASES = (
    0.0,
    0.4,
    0.8,
)  # more of `out_exponent`: a supermarket's next new thing is mostly what everybody buys
MAX_CELLS_WITH_PASSES = 1_500_000  # above, models that learn in passes cost more than all the others together

Entry = tuple[str, Params]


@dataclass(frozen=True)
class AutoSelect:
    """The chooser behind `--embedder auto`."""

    seconds: float = 120.0  # of entries, after which none starts; the first always runs
    checkpoints: Checkpoints | None = None

    def choose(self, split: Split, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress) -> Choice:
        """A default with the reason where there is too little to race on."""
        fallback = make("spectral")
        on = validation_set(_sample_users(split, seed), seed)
        if on.n_users < MIN_USERS:
            reason = f"spectral, because {on.n_users} users with something to predict are too few for a race"
            return Choice(fallback, reason, ())
        found, kept = (
            race_entries(on.train, on.repeats),
            RaceCheckpoint.of(on, self.checkpoints, f"{seed} {device} {self.seconds}"),
        )
        trials, left = run_race(on, found, self.seconds, seed=seed, device=device, progress=progress, kept=kept)
        winner = smallest_near_best(trials)
        if winner is None:
            return Choice(fallback, "spectral, because no entry of the race finished", trials)
        reason = _reason(winner, trials, on)
        if left:
            names = ", ".join(f"{name} ({_params_text(params) or 'defaults'})" for name, params in left)
            reason += f"; not begun within {self.seconds:g} s: {names}"
        return Choice(make(winner.embedder, winner.params), reason, trials)


def embedder_or_chooser(
    name: str, params: Mapping[str, str | float | int] | None = None, checkpoints: Checkpoints | None = None
) -> Embedder | AutoSelect:
    """The embedder of a name; for auto the race, or `spectral` where its parameters are given."""
    if name != AUTO or params:
        return make("spectral" if name == AUTO else name, params)
    return AutoSelect(checkpoints=checkpoints)


def race_entries(train: Interactions, repeats: bool = False) -> list[Entry]:
    """What races on data of this size: the default first, models of one factorisation together, widest first.

    Where what a user had may be recommended, wide parts, which know it again, race on any catalogue.
    """
    n_items, limit = len(train.items), min(train.matrix.shape)
    usual = default_dim(n_items)
    ranks = sorted({min(rank, limit) for rank in (2 * usual, usual, usual // 2, usual // 4)}, reverse=True)
    has_passes = train.matrix.nnz <= MAX_CELLS_WITH_PASSES
    is_deep = n_items > DEEP_BLEND_ITEMS and has_passes
    found: list[Entry] = [("spectral", {}), *(("spectral", {"dim": rank}) for rank in ranks)]
    if is_deep:  # what is likely to win is not left to whether there is time
        found.insert(2, ("blend", {"dim": ranks[0], **DEEP_BLEND}))
    if (
        n_items <= MAX_ITEMS_WITH_WIDE or repeats
    ):  # the widest of its factorisation first: blends take their wide part from it
        # ease alone would win here and there, but its item vectors are nearly orthogonal: nothing is like anything
        wide = {"dim": usual // 2, "wide": min(limit, 2048), "sphere": 0}
        pairs = ((3.0, 0.03), (3.0, 0.06), (3.0, 0.12), (1.0, 0.06))
        found += [("blend", wide | {"weight": weight, "wide_ridge": ridge}) for weight, ridge in pairs]
    if not is_deep:  # it takes their time, and wide parts add little to narrow ones of 512 and more
        found.append(("blend", {"sphere": 0}))
        found += [("blend", {"dim": rank, "wide": 1024, "sphere": 0}) for rank in ranks[1:3]]
    if has_passes:
        found += (
            [("ials", {"dim": 64})] if is_deep else [("blend", {"sphere": DEFAULT_SPHERE_DIM}), ("ials", {"dim": 64})]
        )
    return found


def run_race(
    on: ValidationSet,
    found: list[Entry],
    seconds: float,
    *,
    seed: int,
    device: str,
    progress: Progress = no_progress,
    kept: RaceCheckpoint = NO_CHECKPOINT,
) -> tuple[list[Trial], list[Entry]]:
    """A trial of every entry, in order, then of `seasons` of the best, until the time is up; and what had none then.

    Seasons have half as much on top: on a busy machine they are worth more than the last entries.
    """
    trials, late = kept.read(), list[Entry]()

    def lifted() -> list[Entry]:
        return trend_entries(
            smallest_near_best([trial for trial in trials if (trial.embedder, trial.params) in found]), on.train
        )

    rounds: tuple[tuple[Callable[[], list[Entry]], float], ...] = ((lambda: found, seconds), (lifted, 1.5 * seconds))
    with svd_cache():
        for entries_of, limit in rounds:
            left = [each for each in entries_of() if each not in [(trial.embedder, trial.params) for trial in trials]]
            while left and not (trials and sum(trial.seconds for trial in trials) > limit):
                name, params = left.pop(0)
                progress(f"race {name} {_params_text(params)}", len(trials) / (len(trials) + len(left) + 1))
                trials.append(run_trial(on, name, params, seed=seed, device=device))
                kept.write(trials)
            late += left
    return trials, late


def trend_entries(winner: Trial | None, train: Interactions) -> list[Entry]:
    """The winner with its items lifted less and more by what sells of late, and by what sells at all."""
    if winner is None or train.recent is None or winner.embedder not in TREND_EMBEDDERS:
        return []
    made: Any = make(winner.embedder, winner.params)
    popular = (
        (0.0,) if getattr(made, "sphere", 0) else OUT_EXPONENT_INCREASES
    )  # a blend with an mf part learns that one each time
    lifted = [(trend, more) for more in popular for trend in TRENDS if (trend, more) != (made.trend, 0.0)]
    exponents = {more: {"out_exponent": made.out_exponent + more} if more else {} for more in popular}
    return [(winner.embedder, {**winner.params, "trend": trend, **exponents[more]}) for trend, more in lifted]


def run_trial(on: ValidationSet, name: str, params: Params, *, seed: int, device: str) -> Trial:
    """One fit and its score. Parameters that the data cannot bear make a failed trial, not an error."""
    started = time.perf_counter()
    try:
        space = fit(make(name, params), on.train, seed=seed, device=device)
        (recall, ndcg), alike = on.score(space), on.similar(space)
    except NearfieldError as error:
        return Trial(name, params, "failed", None, None, time.perf_counter() - started, str(error))
    return Trial(name, params, "done", recall, ndcg, time.perf_counter() - started, dim=space.dim, similar=alike)


def _sample_users(split: Split, seed: int) -> Split:
    """A random part of the users where there are very many cells."""
    cells, n_users = split.train.matrix.nnz, len(split.train.users)
    if cells <= MAX_CELLS:
        return split
    rows = np.sort(np.random.default_rng(seed).permutation(n_users)[: n_users * MAX_CELLS // cells])
    return Split(split.train.select_users(rows), sp.csr_matrix(split.test[rows]), split.repeats)


def _reason(winner: Trial, trials: list[Trial], on: ValidationSet) -> str:
    others = [trial for trial in trials if trial.embedder != winner.embedder]
    second = best_trial(others)
    cells = on.train.matrix.nnz
    size = f"{len(on.train.users):,} users, {len(on.train.items):,} items, {cells:,} cells"
    beside = f", before {describe(second)} with {second.figure:.4f}" if second and second.figure < winner.figure else ""
    wider = best_trial(trials)
    if wider is not None and wider.dim > winner.dim:
        beside = f", within {MARGIN:.0%} of {describe(wider)} with {wider.figure:.4f}, which has {wider.dim} dimensions"
    return (
        f"{describe(winner)}: mean of recall@20 and ndcg@20 {winner.figure:.4f} on validation{beside}; "
        f"{len(trials)} entries on {size}"
    )


def _params_text(params: Params) -> str:
    return " ".join(f"{name}={value:g}" for name, value in params.items())
