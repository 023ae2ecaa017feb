"""Values that all searches share: Trial, one fit and its score; Choice, the chosen embedder with reason and trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from engine.evaluation.significance import rounded
from engine.latent_space.space import Embedder
from engine.progress import Progress
from engine.values.splits import Split

MARGIN = 0.01  # relative: a model within this of the best may replace it if it has fewer dimensions
SIMILAR_MARGIN = 0.1  # relative, of the recall of similar items, whose noise is three times as large

Params = Mapping[str, int | float]
State = Literal["done", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """One fit on the validation set. `recall` and `ndcg` are at 20; for a pruned trial they are of its short fit."""

    embedder: str
    params: Params  # that differ from the defaults
    state: State
    recall: float | None
    ndcg: float | None
    seconds: float
    note: str = ""
    short: float | None = None  # the figure of the short fit, if there was one
    dim: int = 0  # of the latent space; 0: unknown
    similar: float | None = None  # recall@20 of similar items

    @property
    def figure(self) -> float:
        """The metric that trials are compared by: the mean of recall@20 and ndcg@20; -1 without them."""
        return -1.0 if self.recall is None or self.ndcg is None else (self.recall + self.ndcg) / 2

    def to_json(self) -> dict[str, Any]:
        return {
            "embedder": self.embedder,
            "params": dict(self.params),
            "state": self.state,
            "recall@20": None if self.recall is None else rounded(self.recall),
            "ndcg@20": None if self.ndcg is None else rounded(self.ndcg),
            "seconds": round(self.seconds, 3),
            "note": self.note,
            "dim": self.dim,
            "similar": None if self.similar is None else rounded(self.similar),
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> Trial:
        """The trial that `to_json` wrote."""
        figures = body["recall@20"], body["ndcg@20"]
        return Trial(
            body["embedder"],
            body["params"],
            body["state"],
            *figures,
            body["seconds"],
            body["note"],
            dim=body.get("dim", 0),
            similar=body.get("similar"),
        )


@dataclass(frozen=True, eq=False)
class Choice:
    embedder: Embedder
    reason: str  # one sentence
    trials: Sequence[Trial]

    def to_json(self) -> dict[str, Any]:
        return {
            "embedder": self.embedder.name,
            "reason": self.reason,
            "trials": [each.to_json() for each in self.trials],
        }


class Chooser(Protocol):
    """Chooses an embedder for a split."""

    def choose(self, split: Split, *, seed: int, device: str, progress: Progress) -> Choice: ...


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The finished trial with the highest figure, the first of equals; None if no trial has finished."""
    done = [trial for trial in trials if trial.state == "done"]
    return max(done, key=lambda trial: trial.figure, default=None)


def smallest_near_best(trials: Sequence[Trial]) -> Trial | None:
    """The trial with fewest dimensions among those within MARGIN of the best; of equals the better one.

    Dimensions cost memory and time at every search, and small differences of a validation metric are noise. A trial
    whose similar items are much worse than another candidate's is left out.
    """
    winner = best_trial(trials)
    if winner is None:
        return None
    near = [trial for trial in trials if trial.state == "done" and trial.figure >= (1 - MARGIN) * winner.figure]
    best_similar = max(trial.similar or 0.0 for trial in near)
    candidates = [trial for trial in near if (trial.similar or 0.0) >= (1 - SIMILAR_MARGIN) * best_similar]
    return min(candidates, key=lambda trial: (trial.dim, -trial.figure))


def describe(trial: Trial) -> str:
    """A trial for a message: `spectral (dim 512)`."""
    params = ", ".join(f"{name} {value:g}" for name, value in trial.params.items())
    return f"{trial.embedder} ({params or 'defaults'})"
