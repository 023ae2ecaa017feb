"""mf: two item tables trained end to end on the unit sphere with a softmax loss, a user being a sum of its history.

score = cos(history @ inputs, outputs). Losses of the softmax family over sampled negatives that a batch shares:
loss_power 1 is SL (Wu et al. 2022), above 1 BSL (Wu et al. 2024, "BSL: Understanding and Improving Softmax Loss"), and
top_k weighs pairs near the user's cut of the list as SL@K does (Yang et al. 2025). A user has no vector of its own, so
one never seen folds in exactly. Starts from the spectral factors: better at every equal epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn.functional import normalize

from engine.checkpoints import Checkpoints
from engine.embedders.descent import Cells, Report, descend, silent
from engine.embedders.device import pick
from engine.embedders.spectral import Spectral
from engine.errors import InputError
from engine.fold_in import TwoTableFoldIn
from engine.interactions import Interactions
from engine.space import LatentSpace
from engine.vectors import Vectors


@dataclass(frozen=True)
class MF:
    name: ClassVar[str] = "mf"

    dim: int = 128
    epochs: int = 10  # from the warm start, validation recall is flat or falls after it
    batch: int = 512
    learning_rate: float = 0.01  # of a table's root mean square, in every Adam step
    temperature: float = 0.1
    loss_power: float = 1.1  # t of BSL: loss = t logsumexp(negatives / temperature) - positive / temperature
    top_k: int = 0  # K of SL@K; 0: every pair weighs the same
    negatives: int = 2048  # all items where there are fewer
    dropout: float = 0.5  # share of a history hidden from the user's vector and predicted

    def __post_init__(self) -> None:
        if min(self.dim, self.epochs, self.batch, self.negatives) < 1:
            raise InputError("mf: dim, epochs, batch and negatives are at least 1", loc=("dim",))
        if self.temperature <= 0 or not 0 <= self.dropout < 1:
            raise InputError("mf: temperature is above 0 and dropout from 0 to under 1", loc=("temperature",))

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
        start = Spectral(self.dim).fit(interactions, seed=seed, device=device)
        name, arrays = start.fold_in.state()
        assert name == "linear"
        outputs = start.items.matrix
        inputs = outputs * arrays["item_scale"][:, None] * arrays["dim_scale"]
        tables = [_parameter(table, where) for table in (inputs, outputs)]
        groups = [{"params": [table], "lr": self.learning_rate * _size(table)} for table in tables]

        def loss_of(cells: Cells, generator: torch.Generator, step: int) -> torch.Tensor:
            return self._loss(cells, tables[0], tables[1], generator)

        descend(
            self, loss_of, groups, matrix, epochs=self.epochs, batch=self.batch, seed=seed, device=where,
            report=report, checkpoints=checkpoints,
        )  # fmt: skip
        items = normalize(tables[1].detach(), dim=1).cpu().numpy()
        fold_in = TwoTableFoldIn(tables[0].detach().cpu().numpy())
        users = Vectors(interactions.users, fold_in.vectors(matrix))
        return LatentSpace(Vectors(interactions.items, items), users, "cosine", fold_in)

    def _loss(
        self, cells: Cells, inputs: torch.Tensor, outputs: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        hidden = torch.rand(len(cells.rows), generator=generator, device=cells.rows.device) < self.dropout
        lengths = torch.bincount(cells.rows, minlength=cells.n_users)
        hidden &= lengths[cells.rows] > 1  # a user of one item predicts it from itself
        seen, wanted = cells.where(~hidden), cells.where(hidden | (lengths[cells.rows] == 1))
        users = normalize(seen.sum_of(inputs), dim=1)
        n_items = len(outputs)
        drawn = torch.arange(n_items, device=users.device)
        if self.negatives < n_items:
            drawn = torch.randint(n_items, (self.negatives,), generator=generator, device=users.device)
        against = (users @ normalize(outputs[drawn], dim=1).T).float()  # of a GPU's bfloat16: temperature is small
        positive = (users[wanted.rows] * normalize(outputs[wanted.columns], dim=1)).sum(dim=1)
        negative = torch.logsumexp(against / self.temperature, dim=1)
        loss = self.loss_power * negative[wanted.rows] - positive / self.temperature
        share = wanted.weights
        if self.top_k:
            rank = min(len(drawn), max(1, round(self.top_k * len(drawn) / n_items)))
            cut = against.detach().topk(rank, dim=1).values[:, -1]
            share = share * torch.sigmoid((positive.detach() - cut[wanted.rows]) / self.temperature)
        totals = torch.zeros(cells.n_users, device=users.device).index_add_(0, wanted.rows, share)
        return (loss * share / totals[wanted.rows].clamp_min(1e-12)).sum() / cells.n_users


def _parameter(table: np.ndarray, device: torch.device) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.from_numpy(np.array(table, dtype=np.float32)).to(device))


def _size(table: torch.Tensor) -> float:
    return max(float(table.detach().square().mean().sqrt()), 1e-6)
