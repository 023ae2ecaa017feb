"""elsa: a tied linear autoencoder on unit item vectors (Vančura et al. 2022, "Scalable Linear Shallow Autoencoder").

score = history A A' with unit rows in A. An item's vector is its row; a user's vector is the weighted sum of the rows
of the history, so one cosine search serves both. Loss: squared error between the normalised history and the
normalised reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import normalize

from engine.checkpoints import Checkpoints
from engine.embedders.factorisation.normalised_svd import initial_item_vectors
from engine.embedders.factorisation.sum_of_items import sum_of_items_space
from engine.embedders.training.chunks import users_per_chunk
from engine.embedders.training.device import torch_device
from engine.embedders.training.gradient_descent import EpochReport, HistoryBatch, gradient_descent, no_report
from engine.errors import InputError
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions

RELATIVE_ROUNDING = 1e-6  # of a history's largest weight: what remains of x - x in float32


@dataclass(frozen=True)
class Elsa:
    name: ClassVar[str] = "elsa"
    abilities: ClassVar[Abilities] = Abilities("cosine", "linear", resumable=True)

    dim: int = 256
    epochs: int = 5  # sparse data overfits after one or two, dense data gains up to ten
    batch: int = 512  # users; several (512, n_items) float arrays, 40 MB each for 20,000 items
    learning_rate: float = 0.003  # of Adam, for entries of about 1 / sqrt(dim)
    exponent: float = 0.4  # degree exponent of the SVD that training starts from

    def __post_init__(self) -> None:
        if min(self.dim, self.epochs, self.batch) < 1:
            raise InputError("elsa: dim, epochs and batch must be at least 1", loc=("dim",))

    def fit(
        self,
        interactions: Interactions,
        *,
        seed: int = 0,
        device: str = "cpu",
        report: EpochReport = no_report,
        checkpoints: Checkpoints | None = None,
    ) -> LatentSpace:
        """LatentSpace with metric cosine."""
        target, matrix = torch_device(device), interactions.matrix
        start = initial_item_vectors(matrix, self.dim, exponent=self.exponent, seed=seed, device=target)
        table = torch.nn.Parameter(torch.from_numpy(start).to(target))

        def loss_of(cells: HistoryBatch, generator: torch.Generator, step: int) -> torch.Tensor:
            unit = normalize(table, dim=1)
            histories = cells.dense(len(table))
            rounding = RELATIVE_ROUNDING * histories.amax(
                dim=1, keepdim=True
            )  # else it is all that some short history scores
            scores = torch.relu(cells.weighted_sum(unit) @ unit.T - histories - rounding)
            return (normalize(scores, dim=1) - normalize(histories, dim=1)).square().sum(dim=1).mean()

        groups: list[dict[str, object]] = [{"params": [table], "lr": self.learning_rate}]
        gradient_descent(
            self, loss_of, groups, matrix, epochs=self.epochs, batch=self.batch, seed=seed, device=target,
            chunk_size=users_per_chunk(len(table)), report=report, checkpoints=checkpoints,
        )  # fmt: skip
        return sum_of_items_space(table, interactions)
