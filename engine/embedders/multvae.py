"""multvae: a variational autoencoder with a multinomial likelihood (Liang et al. 2018, "Variational Autoencoders for
Collaborative Filtering"), hidden cells predicted from the others.

The decoder ends in a linear layer, so its last hidden layer is the user's vector and a row of the layer, with its bias
as one more coordinate, the item's: one inner product serves it. A history folds in through the mean of the code.
The paper has layers of 600, 200 and 600 and batches of 500 users, its authors' code a rate of .001. What differs here
are sizes that suit, not the outcome of a search; `tune` has ranges for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import linear, normalize

from engine.checkpoints import Checkpoints
from engine.embedders.training.chunks import users_at_once
from engine.embedders.training.device import pick
from engine.embedders.training.gradient_descent import Cells, Report, descend, silent
from engine.errors import InputError
from engine.latent_space.fold_in import PerceptronFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Vectors

LEAST_STEPS = 400  # of Adam: a random start is still one after the 40 that 40 epochs of a tiny catalogue have


@dataclass(frozen=True)
class MultVAE:
    name: ClassVar[str] = "multvae"
    abilities: ClassVar[Abilities] = Abilities("dot", "perceptron", resumable=True)

    dim: int = 256  # of the decoder's hidden layer; an item has one more for its bias, so 600 would be a wide index
    code: int = 128  # of the mean, which users fold in through
    epochs: int = 40  # more where the data is so small that they would be under 400 steps
    batch: int = 256  # users; half the paper's: a step has several (batch, n_items) matrices
    learning_rate: float = 0.002  # of Adam, for passes that are fewer than the paper's
    dropout: float = 0.5  # the paper's
    beta: float = 0.2  # weight of the KL term, reached linearly over half of the epochs; .2 is the paper's

    def __post_init__(self) -> None:
        if min(self.dim, self.code, self.epochs, self.batch) < 1:
            raise InputError("multvae: dim, code, epochs and batch are at least 1", loc=("dim",))
        if not 0 <= self.dropout < 1 or self.beta < 0:
            raise InputError("multvae: dropout is from 0 to under 1, beta not negative", loc=("dropout",))

    def fit(
        self,
        interactions: Interactions,
        *,
        seed: int = 0,
        device: str = "cpu",
        report: Report = silent,
        checkpoints: Checkpoints | None = None,
    ) -> LatentSpace:
        """LatentSpace with metric dot and dim + 1 dimensions."""
        where, matrix = pick(device), interactions.matrix
        weights, biases = self._layers(len(interactions.items), seed, where)
        n_batches = -(-matrix.shape[0] // self.batch)
        epochs = max(self.epochs, -(-LEAST_STEPS // n_batches))
        steps = epochs * n_batches // 2
        unit = float(matrix.data.mean(dtype=np.float64))  # a cell of the mean weight is one event of the likelihood

        def loss_of(cells: Cells, generator: torch.Generator, step: int) -> torch.Tensor:
            beta = self.beta * min(1.0, step / max(1, steps))
            return self._loss(cells, weights, biases, unit * beta, generator) / unit

        groups: list[dict[str, object]] = [{"params": [*weights, *biases], "lr": self.learning_rate}]
        descend(
            self, loss_of, groups, matrix, epochs=epochs, batch=self.batch, seed=seed, device=where,
            at_once=users_at_once(len(interactions.items)), report=report, checkpoints=checkpoints,
        )  # fmt: skip
        arrays = {}
        for layer, columns in enumerate((slice(None), slice(0, self.code), slice(None))):  # the mean half of the code
            arrays[f"weight{layer}"] = np.ascontiguousarray(_numpy(weights[layer])[:, columns])
            arrays[f"bias{layer}"] = np.ascontiguousarray(_numpy(biases[layer])[columns])
        items = np.concatenate([_numpy(weights[3]), _numpy(biases[3])[:, None]], axis=1)
        fold_in = PerceptronFoldIn(arrays, straight=(1,))
        users = Vectors(interactions.users, fold_in.vectors(matrix))
        return LatentSpace(Vectors(interactions.items, items), users, "dot", fold_in)

    def _layers(self, n_items: int, seed: int, device: torch.device) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Weights and biases of items -> dim -> (mean, log variance) of the code -> dim -> items."""
        generator = torch.Generator().manual_seed(seed)
        # the last is (n_items, dim), as an item's vector is its row
        shapes = [(n_items, self.dim), (self.dim, 2 * self.code), (self.code, self.dim), (n_items, self.dim)]
        scales = [(2 / (rows + columns)) ** 0.5 for rows, columns in shapes]
        weights = [
            nn.Parameter((torch.randn(shape, generator=generator) * scale).to(device))
            for shape, scale in zip(shapes, scales, strict=True)
        ]
        biases = [nn.Parameter(torch.zeros(width, device=device)) for width in (self.dim, 2 * self.code, self.dim)]
        return weights, [*biases, nn.Parameter(torch.zeros(n_items, device=device))]

    def _loss(
        self,
        cells: Cells,
        weights: list[nn.Parameter],
        biases: list[nn.Parameter],
        beta: float,
        generator: torch.Generator,
    ) -> torch.Tensor:
        histories = cells.dense(len(weights[0]))
        kept = torch.rand(len(cells.rows), generator=generator, device=cells.rows.device) >= self.dropout
        unit = normalize(histories, dim=1)
        seen = Cells(cells.rows, cells.columns, unit[cells.rows, cells.columns], cells.users).where(kept)
        hidden = torch.tanh(seen.sum_of(weights[0]) / (1 - self.dropout) + biases[0])
        moments = hidden @ weights[1] + biases[1]
        mean, log_variance = moments[:, : self.code], moments[:, self.code :]
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        drawn = mean + noise * torch.exp(0.5 * log_variance)
        logits = linear(torch.tanh(drawn @ weights[2] + biases[2]), weights[3], biases[3])
        likelihood = (torch.log_softmax(logits, dim=1) * histories).sum(dim=1).mean()
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1).mean()
        return beta * divergence - likelihood


def _numpy(parameter: nn.Parameter) -> np.ndarray:
    return parameter.detach().cpu().numpy()
