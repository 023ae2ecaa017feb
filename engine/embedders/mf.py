"""mf: a user table and an item table trained end to end on the unit sphere with a softmax loss.

score = cos(users, items). Losses of the softmax family over sampled negatives that a batch shares: loss_power 1 is SL
(Wu et al. 2022), above 1 BSL (Wu et al. 2024, "BSL: Understanding and Improving Softmax Loss"), and top_k weighs pairs
near the user's cut of the list as SL@K does (Yang et al. 2025). All items of a user are predicted in one row, so a pass
is a few large products; both tables start from the spectral factors. The user table is then turned into sums over
histories (`reading`), so a user never seen, or with one click more, folds in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch.nn.functional import embedding, normalize

from engine.checkpoints import Checkpoints
from engine.embedders.factorisation.fold_in_regression import inputs_for
from engine.embedders.factorisation.normalised_svd import degrees, unit_rows
from engine.embedders.factorisation.sphere_softmax import log_sum_exp, on_sphere
from engine.embedders.training.device import pick
from engine.embedders.training.gradient_descent import Cells, Report, descend, silent
from engine.errors import InputError
from engine.latent_space.fold_in import TwoTableFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Matrix, Vectors, normalise_rows

STEPS, FEWEST, MOST = 30, 32, 1024  # of a pass, and users of a step


@dataclass(frozen=True)
class MF:
    name: ClassVar[str] = "mf"
    abilities: ClassVar[Abilities] = Abilities("cosine", "two_tables", resumable=True)

    dim: int = 128
    epochs: int = 10  # of 30 steps; large sparse data gains from 30 with the sharper loss of `search_space.DEEP`
    batch: int = 0  # users; 0: a thirtieth of all, 32 to 1024
    learning_rate: float = 0.1  # of a table's root mean square, in every Adam step
    temperature: float = 0.2
    loss_power: float = 1.1  # t of BSL: loss = t logsumexp(negatives / temperature) - positive / temperature
    top_k: int = 0  # K of SL@K; 0: every pair weighs the same
    top_k_temperature: float = 0.0  # tau_w of SL@K, how softly pairs below the cut are let go; 0: as `temperature`
    negatives: int = 4096  # all items where there are fewer

    def __post_init__(self) -> None:
        if min(self.dim, self.epochs, self.negatives) < 1 or self.batch < 0:
            raise InputError("mf: dim, epochs and negatives are at least 1, batch 0 or more", loc=("dim",))
        if self.temperature <= 0:
            raise InputError("mf: temperature is above 0", loc=("temperature",))
        if min(self.top_k, self.top_k_temperature) < 0:
            raise InputError("mf: top_k and top_k_temperature are 0 or more", loc=("top_k",))

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
        items = unit_rows(matrix, self.dim, exponent=0.5, seed=seed, device=where)
        users = matrix @ (items * (degrees(matrix, 0) ** -0.5)[:, None].astype(np.float32))
        tables = [_parameter(normalise_rows(table), where) for table in (users, items)]
        groups = [{"params": [table], "lr": self.learning_rate * _size(table)} for table in tables]

        def loss_of(cells: Cells, generator: torch.Generator, step: int) -> torch.Tensor:
            return self._loss(cells, tables[0], tables[1], generator)

        batch = self.batch or min(max(matrix.shape[0] // STEPS, FEWEST), MOST)
        descend(
            self, loss_of, groups, matrix, epochs=self.epochs, batch=batch, seed=seed, device=where,
            report=report, checkpoints=checkpoints,
        )  # fmt: skip
        users, items = (normalize(table.detach(), dim=1).cpu().numpy() for table in tables)
        fold_in = TwoTableFoldIn(inputs_for(users, matrix, where))
        vectors = Vectors(interactions.users, fold_in.vectors(matrix))
        return LatentSpace(Vectors(interactions.items, items), vectors, "cosine", fold_in)

    def _loss(self, cells: Cells, users: torch.Tensor, items: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n_items, n_cells = len(items), len(cells.columns)
        drawn = torch.arange(n_items, device=items.device)
        if self.negatives < n_items:
            drawn = torch.randint(n_items, (self.negatives,), generator=generator, device=items.device)
        # only the rows that are met: passes over a whole table take as long as the products
        met, places = torch.unique(torch.cat([cells.columns, drawn]), return_inverse=True)
        mine, units = on_sphere(embedding(cells.users, users)), on_sphere(embedding(met, items))
        cells = replace(cells, columns=places[:n_cells])
        sums, against = log_sum_exp(mine / self.temperature, embedding(places[n_cells:], units))
        if self.top_k:
            rank = min(len(drawn), max(1, round(self.top_k * len(drawn) / n_items)))
            cut = self.temperature * against.topk(rank, dim=1).values[:, -1]
            cells = self._near(cells, mine.detach(), units.detach(), cut)
        # sums over the pairs of a user, without a row for each: t logsumexp - user . sum of items / temperature
        totals = torch.zeros(cells.n_users, device=mine.device).index_add_(0, cells.rows, cells.weights)
        positive = (mine * cells.sum_of(units)).sum(dim=1) / self.temperature
        return (self.loss_power * sums * totals - positive).sum() / totals.sum().clamp_min(1e-12)

    def _near(self, cells: Cells, users: torch.Tensor, units: torch.Tensor, cut: torch.Tensor) -> Cells:
        """The pairs weighted by how near their score is to the user's cut of the list, or above it."""
        scores = (users[cells.rows] * units[cells.columns]).sum(dim=1)
        softness = self.top_k_temperature or self.temperature
        weights = cells.weights * torch.sigmoid((scores - cut[cells.rows]) / softness)
        return replace(cells, weights=weights)


def _parameter(table: Matrix, device: torch.device) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.from_numpy(table).to(device))


def _size(table: torch.Tensor) -> float:
    return max(float(table.detach().square().mean().sqrt()), 1e-6)
