"""elsa: a tied linear autoencoder on unit item vectors (Vančura et al. 2022, "Scalable Linear Shallow Autoencoder").

score = history A A' with rows of A of unit length: an item's vector is its row and a user's the sum of the rows of the
history, so one cosine search serves it. Loss: squared error between the unit history and the unit reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import normalize

from engine.checkpoints import Checkpoints
from engine.embedders.factorisation.normalised_svd import unit_rows
from engine.embedders.factorisation.sum_of_items import summed
from engine.embedders.training.chunks import users_at_once
from engine.embedders.training.device import pick
from engine.embedders.training.gradient_descent import Cells, Report, descend, silent
from engine.errors import InputError
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions

ROUNDING = 1e-6  # of a history's largest weight: what float32 leaves of a number taken from itself


@dataclass(frozen=True)
class Elsa:
    name: ClassVar[str] = "elsa"
    abilities: ClassVar[Abilities] = Abilities("cosine", "linear", resumable=True)

    dim: int = 256
    epochs: int = 5  # sparse data over-fits after one or two, dense data gains to ten
    batch: int = 512  # users; a size that suits memory: (512, n_items) floats a few times over, 40 MB of 20,000 items
    learning_rate: float = 0.003  # of a number that is 1 / sqrt(dim) in the mean
    exponent: float = 0.4  # degree exponents of the factors that training starts from

    def __post_init__(self) -> None:
        if min(self.dim, self.epochs, self.batch) < 1:
            raise InputError("elsa: dim, epochs and batch are at least 1", loc=("dim",))

    def fit(
        self,
        interactions: Interactions,
        *,
        seed: int = 0,
        device: str = "cpu",
        report: Report = silent,
        checkpoints: Checkpoints | None = None,
    ) -> LatentSpace:
        """LatentSpace with metric cosine."""
        where, matrix = pick(device), interactions.matrix
        start = unit_rows(matrix, self.dim, exponent=self.exponent, seed=seed, device=where)
        table = torch.nn.Parameter(torch.from_numpy(start).to(where))

        def loss_of(cells: Cells, generator: torch.Generator, step: int) -> torch.Tensor:
            unit = normalize(table, dim=1)
            histories = cells.dense(len(table))
            rounding = ROUNDING * histories.amax(dim=1, keepdim=True)  # else it is all that some short history scores
            scores = torch.relu(cells.sum_of(unit) @ unit.T - histories - rounding)
            return (normalize(scores, dim=1) - normalize(histories, dim=1)).square().sum(dim=1).mean()

        groups: list[dict[str, object]] = [{"params": [table], "lr": self.learning_rate}]
        descend(
            self, loss_of, groups, matrix, epochs=self.epochs, batch=self.batch, seed=seed, device=where,
            at_once=users_at_once(len(table)), report=report, checkpoints=checkpoints,
        )  # fmt: skip
        return summed(table, interactions)
