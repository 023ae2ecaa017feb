"""Choice: an embedder chosen on validation data, why, and every trial that led to it; Chooser, what makes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from engine.evaluation.significance import rounded
from engine.latent_space.space import Embedder
from engine.progress import Progress
from engine.values.splits import Split

MARGIN = 0.01  # of the figure: what twice the dimensions must be worth
SIMILAR_MARGIN = 0.1  # of the figure of similar items, which has three times the spread by chance

Params = Mapping[str, int | float]
State = Literal["done", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """One fit on the validation split. `recall` and `ndcg` are at 20; of a pruned trial those of its short fit."""

    embedder: str
    params: Params  # over the defaults
    state: State
    recall: float | None
    ndcg: float | None
    seconds: float
    note: str = ""
    short: float | None = None  # the figure after a part of the passes, where that was looked at
    dim: int = 0  # of the space; 0: not known
    similar: float | None = None  # recall@20 of the next item among those most like one of the same user's

    @property
    def figure(self) -> float:
        """What trials compete by: the mean of recall@20 and ndcg@20."""
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
        """As `to_json` wrote it."""
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
    """Chooses an embedder for data instead of being one."""

    def choose(self, split: Split, *, seed: int, device: str, progress: Progress) -> Choice: ...


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The finished trial with the highest figure, the first of equals; None when none has finished."""
    done = [trial for trial in trials if trial.state == "done"]
    return max(done, key=lambda trial: trial.figure, default=None)


def smallest_near_best(trials: Sequence[Trial]) -> Trial | None:
    """The one of fewest dimensions among those within MARGIN of the best, the better one of equals.

    Dimensions cost memory and time at every search, and the last bit of a validation figure is chance. Of those, one
    whose similar items are much worse than another's is not taken.
    """
    winner = best_trial(trials)
    if winner is None:
        return None
    near = [trial for trial in trials if trial.state == "done" and trial.figure >= (1 - MARGIN) * winner.figure]
    most = max(trial.similar or 0.0 for trial in near)
    alike = [trial for trial in near if (trial.similar or 0.0) >= (1 - SIMILAR_MARGIN) * most]
    return min(alike, key=lambda trial: (trial.dim, -trial.figure))


def describe(trial: Trial) -> str:
    """`spectral (dim 512)` for people."""
    params = ", ".join(f"{name} {value:g}" for name, value in trial.params.items())
    return f"{trial.embedder} ({params or 'defaults'})"
