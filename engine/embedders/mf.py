"""mf: a user table and an item table trained end to end on the unit sphere with a softmax loss.

score = cos(user, item). The losses are softmax losses over sampled negatives that a batch shares: loss_power 1 is SL
(Wu et al. 2022), above 1 BSL (Wu et al. 2024, "BSL: Understanding and Improving Softmax Loss"); top_k weighs pairs by
how close they are to the user's top K, as SL@K does (Yang et al. 2025). All items of a user are predicted in one row,
so an epoch is a few large matrix products. Both tables start from the SVD. The user table is finally replaced by sums
over histories (`fold_in_regression`), so that new users and new events fold in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch.nn.functional import embedding, normalize

from engine.checkpoints import Checkpoints
from engine.embedders.factorisation.fold_in_regression import fold_in_inputs
from engine.embedders.factorisation.normalised_svd import degrees, initial_item_vectors
from engine.embedders.factorisation.sphere_softmax import log_sum_exp, unit_rows
from engine.embedders.training.device import torch_device
from engine.embedders.training.gradient_descent import EpochReport, HistoryBatch, gradient_descent, no_report
from engine.errors import InputError
from engine.latent_space.fold_in import TwoTableFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Matrix, Vectors, normalise_rows

STEPS_PER_EPOCH = 30
MIN_BATCH, MAX_BATCH = 32, 1024  # users of a step


@dataclass(frozen=True)
class MF:
    name: ClassVar[str] = "mf"
    abilities: ClassVar[Abilities] = Abilities("cosine", "two_tables", resumable=True)

    dim: int = 128
    epochs: int = 10  # of 30 steps; large sparse data gains from 30 with a lower temperature (`search_space.DEEP`)
    batch: int = 0  # users; 0: a thirtieth of all users, 32 to 1024
    learning_rate: float = 0.1  # of Adam, relative to the root mean square of each table
    temperature: float = 0.2
    loss_power: float = 1.1  # t of BSL: loss = t logsumexp(negatives / temperature) - positive / temperature
    top_k: int = 0  # K of SL@K; 0: all pairs have equal weight
    top_k_temperature: float = 0.0  # tau_w of SL@K, softness of the cut at K; 0: `temperature`
    negatives: int = 4096  # or all items if there are fewer

    def __post_init__(self) -> None:
        if min(self.dim, self.epochs, self.negatives) < 1 or self.batch < 0:
            raise InputError("mf: dim, epochs and negatives must be at least 1, batch 0 or more", loc=("dim",))
        if self.temperature <= 0:
            raise InputError("mf: temperature must be above 0", loc=("temperature",))
        if min(self.top_k, self.top_k_temperature) < 0:
            raise InputError("mf: top_k and top_k_temperature must be 0 or more", loc=("top_k",))

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
        items = initial_item_vectors(matrix, self.dim, exponent=0.5, seed=seed, device=target)
        users = matrix @ (items * (degrees(matrix, 0) ** -0.5)[:, None].astype(np.float32))
        tables = [_parameter(normalise_rows(table), target) for table in (users, items)]
        groups = [{"params": [table], "lr": self.learning_rate * _root_mean_square(table)} for table in tables]

        def loss_of(cells: HistoryBatch, generator: torch.Generator, step: int) -> torch.Tensor:
            return self._loss(cells, tables[0], tables[1], generator)

        batch = self.batch or min(max(matrix.shape[0] // STEPS_PER_EPOCH, MIN_BATCH), MAX_BATCH)
        gradient_descent(
            self, loss_of, groups, matrix, epochs=self.epochs, batch=batch, seed=seed, device=target,
            report=report, checkpoints=checkpoints,
        )  # fmt: skip
        users, items = (normalize(table.detach(), dim=1).cpu().numpy() for table in tables)
        fold_in = TwoTableFoldIn(fold_in_inputs(users, matrix, target))
        vectors = Vectors(interactions.users, fold_in.vectors(matrix))
        return LatentSpace(Vectors(interactions.items, items), vectors, "cosine", fold_in)

    def _loss(
        self, cells: HistoryBatch, users: torch.Tensor, items: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        n_items, n_cells = len(items), len(cells.columns)
        drawn = torch.arange(n_items, device=items.device)
        if self.negatives < n_items:
            drawn = torch.randint(n_items, (self.negatives,), generator=generator, device=items.device)
        # only the rows in use: normalising the whole table takes as long as the matrix products
        used, positions = torch.unique(torch.cat([cells.columns, drawn]), return_inverse=True)
        user_vectors, item_vectors = unit_rows(embedding(cells.users, users)), unit_rows(embedding(used, items))
        cells = replace(cells, columns=positions[:n_cells])
        log_sums, logits = log_sum_exp(user_vectors / self.temperature, embedding(positions[n_cells:], item_vectors))
        if self.top_k:
            rank = min(len(drawn), max(1, round(self.top_k * len(drawn) / n_items)))
            cut = self.temperature * logits.topk(rank, dim=1).values[:, -1]
            cells = self._weigh_by_rank(cells, user_vectors.detach(), item_vectors.detach(), cut)
        # summed over the pairs of a user without one row per pair: t logsumexp - user . sum of items / temperature
        totals = torch.zeros(cells.n_users, device=user_vectors.device).index_add_(0, cells.rows, cells.weights)
        positive = (user_vectors * cells.weighted_sum(item_vectors)).sum(dim=1) / self.temperature
        return (self.loss_power * log_sums * totals - positive).sum() / totals.sum().clamp_min(1e-12)

    def _weigh_by_rank(
        self, cells: HistoryBatch, users: torch.Tensor, items: torch.Tensor, cut: torch.Tensor
    ) -> HistoryBatch:
        """The batch with pairs weighted down the further their score is below `cut` (n_users,), the score at rank K."""
        scores = (users[cells.rows] * items[cells.columns]).sum(dim=1)
        softness = self.top_k_temperature or self.temperature
        weights = cells.weights * torch.sigmoid((scores - cut[cells.rows]) / softness)
        return replace(cells, weights=weights)


def _parameter(table: Matrix, device: torch.device) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.from_numpy(table).to(device))


def _root_mean_square(table: torch.Tensor) -> float:
    return max(float(table.detach().square().mean().sqrt()), 1e-6)
