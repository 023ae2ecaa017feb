"""`--embedder auto`: a race of a few cheap models on validation data, chosen by the size of the data.

Models of one factorisation share it (`engine.embedders.factorisation.svd_cache`), widest first, so that more dimensions
and filters cost little more than scoring. If times are known, the winner is fitted again with other weights of recent
popularity. With checkpoints a race that was killed resumes. The choice says its reason.
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
MAX_CELLS = 5_000_000  # of larger data a random sample of the users is used
MAX_ITEMS_WITH_WIDE = 6_000  # a wide ease part helps on small catalogues
TREND_EMBEDDERS = ("spectral", "blend")
TRENDS = (0.0, 0.5, 1.0)
# A higher `out_exponent` favours popular items: a new item in a supermarket basket is mostly a popular one.
OUT_EXPONENT_INCREASES = (0.0, 0.4, 0.8)
MAX_CELLS_WITH_PASSES = 1_500_000  # above, models that learn in passes cost more than all others together

Entry = tuple[str, Params]


@dataclass(frozen=True)
class AutoSelect:
    """The chooser behind `--embedder auto`."""

    seconds: float = 120.0  # after which no entry starts; the first always runs
    checkpoints: Checkpoints | None = None

    def choose(self, split: Split, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress) -> Choice:
        """The best entry, or the default with the reason if there is too little data for a race."""
        fallback = make("spectral")
        validation = validation_set(_sample_users(split, seed), seed)
        if validation.n_users < MIN_USERS:
            reason = f"spectral, because {validation.n_users} users with test items are too few for a race"
            return Choice(fallback, reason, ())
        entries = race_entries(validation.train, validation.repeats)
        checkpoint = RaceCheckpoint.of(validation, self.checkpoints, f"{seed} {device} {self.seconds}")
        trials, not_started = run_race(
            validation, entries, self.seconds, seed=seed, device=device, progress=progress, checkpoint=checkpoint
        )
        winner = smallest_near_best(trials)
        if winner is None:
            return Choice(fallback, "spectral, because no entry of the race finished", trials)
        reason = _reason(winner, trials, validation)
        if not_started:
            names = ", ".join(f"{name} ({_params_text(params) or 'defaults'})" for name, params in not_started)
            reason += f"; not started within {self.seconds:g} s: {names}"
        return Choice(make(winner.embedder, winner.params), reason, trials)


def embedder_or_chooser(
    name: str, params: Mapping[str, str | float | int] | None = None, checkpoints: Checkpoints | None = None
) -> Embedder | AutoSelect:
    """The embedder `name`; for `auto` the race, or `spectral` if parameters are given."""
    if name != AUTO or params:
        return make("spectral" if name == AUTO else name, params)
    return AutoSelect(checkpoints=checkpoints)


def race_entries(train: Interactions, repeats: bool = False) -> list[Entry]:
    """The entries for data of this size: the default first, models of one factorisation together, widest first.

    With `repeats`, blends with a wide part are entries on catalogues of any size, because they recall past items.
    """
    n_items, limit = len(train.items), min(train.matrix.shape)
    default = default_dim(n_items)
    dims = sorted({min(dim, limit) for dim in (2 * default, default, default // 2, default // 4)}, reverse=True)
    has_passes = train.matrix.nnz <= MAX_CELLS_WITH_PASSES
    is_deep = n_items > DEEP_BLEND_ITEMS and has_passes
    entries: list[Entry] = [("spectral", {}), *(("spectral", {"dim": dim}) for dim in dims)]
    if is_deep:  # the likely winner starts early, so that it fits into the time
        entries.insert(2, ("blend", {"dim": dims[0], **DEEP_BLEND}))
    if n_items <= MAX_ITEMS_WITH_WIDE or repeats:  # widest first: later blends truncate its factorisation
        # ease alone would win on some data, but its item vectors are nearly orthogonal and useless for similar items
        wide = {"dim": default // 2, "wide": min(limit, 2048), "sphere": 0}
        pairs = ((3.0, 0.03), (3.0, 0.06), (3.0, 0.12), (1.0, 0.06))
        entries += [("blend", wide | {"weight": weight, "wide_ridge": ridge}) for weight, ridge in pairs]
    if not is_deep:  # the deep blend takes their time, and wide parts add little to 512 dimensions and more
        entries.append(("blend", {"sphere": 0}))
        entries += [("blend", {"dim": dim, "wide": 1024, "sphere": 0}) for dim in dims[1:3]]
    if has_passes:
        if not is_deep:
            entries.append(("blend", {"sphere": DEFAULT_SPHERE_DIM}))
        entries.append(("ials", {"dim": 64}))
    return entries


def run_race(
    validation: ValidationSet,
    entries: list[Entry],
    seconds: float,
    *,
    seed: int,
    device: str,
    progress: Progress = no_progress,
    checkpoint: RaceCheckpoint = NO_CHECKPOINT,
) -> tuple[list[Trial], list[Entry]]:
    """Trials of the entries, in order, then of the `trend_entries` of the best; and the entries not started in time.

    The second round may run until 1.5 x `seconds`: on a busy machine it is worth more than the last entries.
    """
    trials, not_started = checkpoint.read(), list[Entry]()

    def second_round() -> list[Entry]:
        of_entries = [trial for trial in trials if (trial.embedder, trial.params) in entries]
        return trend_entries(smallest_near_best(of_entries), validation.train)

    rounds: tuple[tuple[Callable[[], list[Entry]], float], ...] = (
        (lambda: entries, seconds),
        (second_round, 1.5 * seconds),
    )
    with svd_cache():
        for entries_of, limit in rounds:
            left = [each for each in entries_of() if each not in [(trial.embedder, trial.params) for trial in trials]]
            while left and not (trials and sum(trial.seconds for trial in trials) > limit):
                name, params = left.pop(0)
                progress(f"race {name} {_params_text(params)}", len(trials) / (len(trials) + len(left) + 1))
                trials.append(run_trial(validation, name, params, seed=seed, device=device))
                checkpoint.write(trials)
            not_started += left
    return trials, not_started


def trend_entries(winner: Trial | None, train: Interactions) -> list[Entry]:
    """The winner with other weights of recent popularity (`trend`) and of popularity (`out_exponent`)."""
    if winner is None or train.recent is None or winner.embedder not in TREND_EMBEDDERS:
        return []
    embedder: Any = make(winner.embedder, winner.params)
    # with an mf part the exponent does not vary, because each variant would train that part again
    increases = (0.0,) if getattr(embedder, "sphere", 0) else OUT_EXPONENT_INCREASES
    variants = [(trend, more) for more in increases for trend in TRENDS if (trend, more) != (embedder.trend, 0.0)]
    exponents = {more: {"out_exponent": embedder.out_exponent + more} if more else {} for more in increases}
    return [(winner.embedder, {**winner.params, "trend": trend, **exponents[more]}) for trend, more in variants]


def run_trial(validation: ValidationSet, name: str, params: Params, *, seed: int, device: str) -> Trial:
    """One fit and its score. Parameters that do not suit the data give a failed trial, not an error."""
    started = time.perf_counter()
    try:
        space = fit(make(name, params), validation.train, seed=seed, device=device)
        (recall, ndcg), similar = validation.score(space), validation.similar_item_recall(space)
    except NearfieldError as error:
        return Trial(name, params, "failed", None, None, time.perf_counter() - started, str(error))
    return Trial(name, params, "done", recall, ndcg, time.perf_counter() - started, dim=space.dim, similar=similar)


def _sample_users(split: Split, seed: int) -> Split:
    """The split of a random sample of users if there are more than MAX_CELLS interactions."""
    cells, n_users = split.train.matrix.nnz, len(split.train.users)
    if cells <= MAX_CELLS:
        return split
    rows = np.sort(np.random.default_rng(seed).permutation(n_users)[: n_users * MAX_CELLS // cells])
    return Split(split.train.select_users(rows), sp.csr_matrix(split.test[rows]), split.repeats)


def _reason(winner: Trial, trials: list[Trial], validation: ValidationSet) -> str:
    others = [trial for trial in trials if trial.embedder != winner.embedder]
    second = best_trial(others)
    cells = validation.train.matrix.nnz
    size = f"{len(validation.train.users):,} users, {len(validation.train.items):,} items, {cells:,} cells"
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
