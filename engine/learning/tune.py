"""Search over embedders and hyper-parameters on validation data, with Optuna's tree-structured Parzen estimator.

Embedders that learn in passes are first fitted with a third of the passes and pruned if the result is below the median
(Optuna's MedianPruner). No trial starts that would not end within the time. Bergstra et al. 2011; Akiba et al. 2019.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.embedders.default_dims import default_dim
from engine.embedders.factorisation.svd_cache import svd_cache
from engine.embedders.registry import make
from engine.errors import InputError, NearfieldError, NotEnoughData
from engine.evaluation.validation_set import ValidationSet, validation_set
from engine.fitting.fit import fit
from engine.fitting.training_passes import PASSES_PARAMETER, REPORTED_PASSES_PARAMETER, PassReport
from engine.learning import tune_study as studies
from engine.learning.search_space import DEEP_BLEND_ITEMS, SPACES, Range, deep_blend_params, start_params
from engine.learning.trials import Choice, Trial, best_trial, describe
from engine.progress import Progress, no_progress
from engine.values.splits import Split

if TYPE_CHECKING:
    import optuna

# Not searched by default: ease, whose item vectors are nearly orthogonal (see auto_select.py); multvae, whose .2336
# recall on ml-1m (validation) is below all of these; item2vec, whose 30 passes take 4.2 s each there (mf: 10 of .34 s).
DEFAULT_EMBEDDERS = ("spectral", "blend", "ials", "mf", "elsa")
SHORT_FIT_SHARE = 1 / 3  # of the passes, after which a trial may be pruned
OLD_TRIALS_RETRIED = 3  # best trials of a study of other data that are tried first
MAX_MISFITS = 5  # consecutive trials that would take too long, after which the search ends


class OutOfTime(Exception):
    """A trial would not end in time; recorded in the trial, never raised to a caller."""


@dataclass(frozen=True)
class Tune:
    """The chooser behind `nearfield tune`."""

    budget_s: float
    embedders: Sequence[str] = DEFAULT_EMBEDDERS
    study: Path | None = None
    restart: bool = False

    def choose(self, split: Split, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress) -> Choice:
        return tune(
            split, self.budget_s, seed=seed, device=device, embedders=self.embedders, study=self.study,
            restart=self.restart, progress=progress,
        )  # fmt: skip


def tune(
    split: Split,
    budget_s: float,
    *,
    seed: int = 0,
    device: str = "cpu",
    embedders: Sequence[str] = DEFAULT_EMBEDDERS,
    study: Path | None = None,
    restart: bool = False,
    progress: Progress = no_progress,
) -> Choice:
    """The best embedder found on `split` in about `budget_s` seconds, with every trial.

    `study` is a file with the trials of earlier searches, from which the search resumes unless `restart` is set. Trials
    of embedders that are not searched now stay in the file. Raises InputError for an embedder without a search space,
    the errors of `torch_device`, and NotEnoughData if no user has test items.
    """
    from engine.embedders.training.device import torch_device

    unknown = [name for name in embedders if name not in SPACES]
    if unknown or not embedders:
        raise InputError(f"expected embedders of {', '.join(SPACES)}, got {unknown or 'none'}", loc=("embedders",))
    torch_device(device)  # raises here, because inside a trial the error would only fail the trial
    if split.test.nnz == 0:
        raise NotEnoughData("no user has anything to predict after the split, so there is nothing to tune on")
    validation, data = validation_set(split, seed), studies.split_fingerprint(split)
    same, other = ([], []) if restart else studies.load_trials(study, data)
    not_searched = [trial for trial in same if trial.embedder not in embedders]
    search = Search(validation, tuple(embedders), seed, device, budget_s, same, other)
    with svd_cache():
        for trial in search.run():
            studies.save_trials(study, data, [*not_searched, *search.trials])
            found = best_trial(search.trials)
            so_far = f"best {found.figure:.4f} by {found.embedder}" if found else "none finished yet"
            progress(f"trial {len(search.trials)} {trial.embedder}, {so_far}", min(1.0, search.elapsed() / budget_s))
    winner = best_trial(search.trials)
    if winner is None:
        return Choice(make("spectral"), "spectral, because no trial finished within the time", search.trials)
    return Choice(make(winner.embedder, winner.params), _reason(winner, search.trials), search.trials)


class Search:
    """The Optuna study and the clock of one call of `tune`."""

    def __init__(
        self,
        validation: ValidationSet,
        embedders: tuple[str, ...],
        seed: int,
        device: str,
        budget_s: float,
        same: list[Trial],
        other: list[Trial],
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.validation, self.embedders, self.seed, self.device = validation, embedders, seed, device
        self.budget_s = budget_s
        self.trials: list[Trial] = [
            trial for trial in same if trial.embedder in embedders and _has_current_params(trial)
        ]
        other = other + [trial for trial in same if not _has_current_params(trial)]
        sampler = optuna.samplers.TPESampler(seed=seed + len(self.trials), n_startup_trials=2 * len(embedders))
        pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
        self.study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        for trial in self.trials:
            self.study.add_trial(_optuna_trial(trial, embedders))
        if not self.trials:
            self._enqueue_first(other)
        self.started = time.perf_counter()

    def _enqueue_first(self, other: list[Trial]) -> None:
        """Queue the defaults of every embedder, closed forms in several dimensions, and the best earlier trials."""
        n_items = len(self.validation.train.items)
        default, is_large = default_dim(n_items), n_items > DEEP_BLEND_ITEMS
        for name in self.embedders:
            self._enqueue(
                name, deep_blend_params(default) if name == "blend" and is_large else start_params(name, default)
            )
        for name, dim in (("spectral", default // 2), ("spectral", 2 * default), ("blend", default // 2)):
            bounds = SPACES[name]["dim"]
            if name in self.embedders and bounds.low <= dim <= bounds.high:
                self._enqueue(name, start_params(name, default) | {"dim": dim})
        for trial in sorted((each for each in other if each.embedder in self.embedders), key=_worst_first)[
            :OLD_TRIALS_RETRIED
        ]:
            self._enqueue(trial.embedder, dict(trial.params))

    def _enqueue(self, name: str, params: dict[str, Any]) -> None:
        self.study.enqueue_trial({"embedder": name} | {f"{name}.{key}": value for key, value in params.items()})

    def run(self) -> Any:
        """Yield trials as they end, until the time is up or MAX_MISFITS trials in a row do not fit into it."""
        misfits = 0
        while self.left() > 0 and misfits < MAX_MISFITS:
            optuna_trial = self.study.ask()
            name = optuna_trial.suggest_categorical("embedder", list(self.embedders))
            params = {key: _suggest(optuna_trial, f"{name}.{key}", each) for key, each in SPACES[name].items()}
            trial = self._run(optuna_trial, name, params)
            misfits = misfits + 1 if trial.note.startswith("would take") else 0
            self.trials.append(trial)
            yield trial

    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def left(self) -> float:
        """Seconds that a trial may take; the time for its refit, or that of the best so far, is reserved."""
        rest = self.budget_s - self.elapsed()
        return min(rest / 2, rest - self._refit())

    def _refit(self) -> float:
        found = best_trial(self.trials)
        return found.seconds if found else 0.0

    def _run(self, optuna_trial: optuna.Trial, name: str, params: dict[str, Any]) -> Trial:
        import optuna

        began, states = time.perf_counter(), optuna.trial.TrialState
        try:
            self._check_usual_time(name)
            trial = self._scored(optuna_trial, name, params)
        except OutOfTime as error:
            trial = Trial(name, params, "pruned", None, None, 0.0, str(error))
        except (NearfieldError, ArithmeticError, ValueError, RuntimeError) as error:  # extreme parameters
            trial = Trial(name, params, "failed", None, None, 0.0, f"{type(error).__name__}: {error}"[:300])
        trial = replace(trial, seconds=time.perf_counter() - began)
        state = {"done": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[trial.state]
        self.study.tell(optuna_trial, trial.figure if trial.state == "done" else None, state)
        return trial

    def _scored(self, optuna_trial: optuna.Trial, name: str, params: dict[str, Any]) -> Trial:
        passes, short = PASSES_PARAMETER.get(name), None
        if passes is not None and (few := round(SHORT_FIT_SHARE * self._passes(name, params))) >= 1:
            began = time.perf_counter()
            recall, ndcg = self._fit(name, params | {passes: few})
            short = (recall + ndcg) / 2
            took = time.perf_counter() - began
            optuna_trial.report(short, 0)
            if optuna_trial.should_prune():
                note = f"below the median after {few} {passes}"
                return Trial(name, params, "pruned", recall, ndcg, 0.0, note, short)
            self._check_time(took / SHORT_FIT_SHARE)
        recall, ndcg = self._fit(name, params)
        return Trial(name, params, "done", recall, ndcg, 0.0, "", short)

    def _passes(self, name: str, params: dict[str, Any]) -> int:
        made: Any = make(name, params)
        return int(getattr(made, REPORTED_PASSES_PARAMETER[name]))

    def _fit(self, name: str, params: dict[str, Any]) -> tuple[float, float]:
        embedder = make(name, params)
        report = self._watch(self._passes(name, params)) if embedder.abilities.resumable else None
        return self.validation.score(
            fit(embedder, self.validation.train, seed=self.seed, device=self.device, report=report)
        )

    def _watch(self, epochs: int) -> PassReport:
        def report(epoch: int, loss: float, seconds: float) -> None:
            if epoch == epochs:
                return  # the fit is complete and will be scored
            needed = (epochs - epoch) * seconds + max(self._refit(), epochs * seconds)
            if needed > (rest := self.budget_s - self.elapsed()):
                raise OutOfTime(f"would take {needed:.0f} s more with a refit, {max(rest, 0):.0f} s are left")

        return report

    def _check_usual_time(self, name: str) -> None:
        """Raise OutOfTime if the median trial of this embedder took longer than the time left."""
        took = [trial.seconds for trial in self.trials if trial.embedder == name and trial.state == "done"]
        if took:
            self._check_time(float(np.median(took)))

    def _check_time(self, seconds: float) -> None:
        if seconds > (left := self.left()):
            raise OutOfTime(f"would take {seconds:.0f} s, {max(left, 0):.0f} s are left before its refit")


def _suggest(optuna_trial: optuna.Trial, name: str, bounds: Range) -> int | float:
    if bounds.whole:
        return optuna_trial.suggest_int(name, int(bounds.low), int(bounds.high), step=_step(bounds), log=bounds.log)
    return optuna_trial.suggest_float(name, bounds.low, bounds.high, log=bounds.log, step=bounds.step)


def _optuna_trial(trial: Trial, embedders: tuple[str, ...]) -> optuna.trial.FrozenTrial:
    """A trial of an earlier run as an Optuna trial."""
    import optuna

    kinds = optuna.distributions
    params: dict[str, Any] = {"embedder": trial.embedder}
    distributions: dict[str, Any] = {"embedder": kinds.CategoricalDistribution(list(embedders))}
    for key, bounds in SPACES[trial.embedder].items():
        name = f"{trial.embedder}.{key}"
        params[name] = trial.params[key]
        distributions[name] = (
            kinds.IntDistribution(int(bounds.low), int(bounds.high), step=_step(bounds), log=bounds.log)
            if bounds.whole
            else kinds.FloatDistribution(bounds.low, bounds.high, log=bounds.log, step=bounds.step)
        )
    states = optuna.trial.TrialState
    return optuna.trial.create_trial(
        state={"done": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[trial.state],
        value=trial.figure if trial.state == "done" else None,
        params=params,
        distributions=distributions,
        intermediate_values={} if trial.short is None else {0: trial.short},
    )


def _step(bounds: Range) -> int:
    return int(bounds.step or 1)


def _has_current_params(trial: Trial) -> bool:
    """Whether a trial has exactly the parameters of today's search space; one of an earlier version may not."""
    return trial.params.keys() == SPACES.get(trial.embedder, {}).keys()


def _worst_first(trial: Trial) -> float:
    return -trial.figure if trial.state == "done" else 1.0


def _reason(winner: Trial, trials: Sequence[Trial]) -> str:
    ended = {state: sum(trial.state == state for trial in trials) for state in ("done", "pruned", "failed")}
    counts = ", ".join(f"{n} {state}" for state, n in ended.items() if n)
    return f"{describe(winner)}: mean of recall@20 and ndcg@20 {winner.figure:.4f} on validation, best of {counts}"
