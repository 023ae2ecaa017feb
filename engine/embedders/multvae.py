"""multvae: a variational autoencoder with a multinomial likelihood (Liang et al. 2018, "Variational Autoencoders for
Collaborative Filtering"), trained to predict hidden interactions from the others.

The decoder ends in a linear layer: a user's vector is its last hidden layer, an item's vector the item's row of the
linear layer with the bias as one more coordinate, and a score is their inner product. A history folds in through the
mean of the code. The paper uses layers of 600, 200 and 600 and batches of 500 users, its code a learning rate of .001.
The sizes here are smaller for memory and speed and were not tuned; `tune` has ranges for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import linear, normalize

from engine.checkpoints import Checkpoints
from engine.embedders.training.chunks import users_per_chunk
from engine.embedders.training.device import torch_device
from engine.embedders.training.gradient_descent import EpochReport, HistoryBatch, gradient_descent, no_report
from engine.errors import InputError
from engine.latent_space.fold_in import PerceptronFoldIn
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Vectors

MIN_STEPS = 400  # of Adam; 40 epochs of a tiny data set have only 40 steps, too few to leave the random start


@dataclass(frozen=True)
class MultVAE:
    name: ClassVar[str] = "multvae"
    abilities: ClassVar[Abilities] = Abilities("dot", "perceptron", resumable=True)

    dim: int = 256  # of the decoder's hidden layer, plus one for the item bias; 600 would make a wide index
    code: int = 128  # dimensions of the latent mean
    epochs: int = 40  # more on data so small that they are fewer than MIN_STEPS steps
    batch: int = 256  # users; half of the paper's, because a step has several (batch, n_items) matrices
    learning_rate: float = 0.002  # of Adam; above the paper's, for fewer epochs
    dropout: float = 0.5  # the paper's
    beta: float = 0.2  # weight of the KL term, rising linearly over the first half of the epochs; the paper's

    def __post_init__(self) -> None:
        if min(self.dim, self.code, self.epochs, self.batch) < 1:
            raise InputError("multvae: dim, code, epochs and batch must be at least 1", loc=("dim",))
        if not 0 <= self.dropout < 1 or self.beta < 0:
            raise InputError("multvae: dropout must be from 0 to below 1, beta 0 or more", loc=("dropout",))

    def fit(
        self,
        interactions: Interactions,
        *,
        seed: int = 0,
        device: str = "cpu",
        report: EpochReport = no_report,
        checkpoints: Checkpoints | None = None,
    ) -> LatentSpace:
        """LatentSpace with metric dot and dim + 1 dimensions."""
        target, matrix = torch_device(device), interactions.matrix
        weights, biases = self._layers(len(interactions.items), seed, target)
        n_batches = -(-matrix.shape[0] // self.batch)
        epochs = max(self.epochs, -(-MIN_STEPS // n_batches))
        warm_up_steps = epochs * n_batches // 2
        unit = float(matrix.data.mean(dtype=np.float64))  # an interaction of mean weight counts as one event

        def loss_of(cells: HistoryBatch, generator: torch.Generator, step: int) -> torch.Tensor:
            beta = self.beta * min(1.0, step / max(1, warm_up_steps))
            return self._loss(cells, weights, biases, unit * beta, generator) / unit

        groups: list[dict[str, object]] = [{"params": [*weights, *biases], "lr": self.learning_rate}]
        gradient_descent(
            self, loss_of, groups, matrix, epochs=epochs, batch=self.batch, seed=seed, device=target,
            chunk_size=users_per_chunk(len(interactions.items)), report=report, checkpoints=checkpoints,
        )  # fmt: skip
        arrays = {}
        # of layer 1 only the mean, not the log variance
        for layer, columns in enumerate((slice(None), slice(0, self.code), slice(None))):
            arrays[f"weight{layer}"] = np.ascontiguousarray(_numpy(weights[layer])[:, columns])
            arrays[f"bias{layer}"] = np.ascontiguousarray(_numpy(biases[layer])[columns])
        items = np.concatenate([_numpy(weights[3]), _numpy(biases[3])[:, None]], axis=1)
        fold_in = PerceptronFoldIn(arrays, straight=(1,))
        users = Vectors(interactions.users, fold_in.vectors(matrix))
        return LatentSpace(Vectors(interactions.items, items), users, "dot", fold_in)

    def _layers(self, n_items: int, seed: int, device: torch.device) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Weights and biases of items -> dim -> (mean, log variance) of the code -> dim -> items."""
        generator = torch.Generator().manual_seed(seed)
        # the last is (n_items, dim), because an item's vector is its row
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
        cells: HistoryBatch,
        weights: list[nn.Parameter],
        biases: list[nn.Parameter],
        beta: float,
        generator: torch.Generator,
    ) -> torch.Tensor:
        histories = cells.dense(len(weights[0]))
        is_kept = torch.rand(len(cells.rows), generator=generator, device=cells.rows.device) >= self.dropout
        unit = normalize(histories, dim=1)
        visible = HistoryBatch(cells.rows, cells.columns, unit[cells.rows, cells.columns], cells.users).select(is_kept)
        hidden = torch.tanh(visible.weighted_sum(weights[0]) / (1 - self.dropout) + biases[0])
        moments = hidden @ weights[1] + biases[1]
        mean, log_variance = moments[:, : self.code], moments[:, self.code :]
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        sampled = mean + noise * torch.exp(0.5 * log_variance)
        logits = linear(torch.tanh(sampled @ weights[2] + biases[2]), weights[3], biases[3])
        likelihood = (torch.log_softmax(logits, dim=1) * histories).sum(dim=1).mean()
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1).mean()
        return beta * divergence - likelihood


def _numpy(parameter: nn.Parameter) -> np.ndarray:
    return parameter.detach().cpu().numpy()
