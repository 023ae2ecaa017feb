"""item2vec: skip-gram with negative sampling over histories (Barkan and Koenigstein 2016), as word2vec does for text.

Two items of one history are a pair; a history has no order, so the window is the whole history. An item's vector is its
unit input vector, a user's vector the weighted sum over the history, so one cosine search serves both. The model is
meant for similar items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn.functional import embedding, logsigmoid

from engine.checkpoints import Checkpoints
from engine.embedders.factorisation.normalised_svd import initial_item_vectors
from engine.embedders.factorisation.sum_of_items import sum_of_items_space
from engine.embedders.training.device import torch_device
from engine.embedders.training.gradient_descent import EpochReport, HistoryBatch, gradient_descent, no_report
from engine.errors import InputError
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions

# degree exponent of the SVD that training starts from; a random start needs ten times the epochs
START_EXPONENT = 0.4


@dataclass(frozen=True)
class Item2Vec:
    name: ClassVar[str] = "item2vec"
    abilities: ClassVar[Abilities] = Abilities("cosine", "linear", resumable=True)

    dim: int = 128  # like mf and ials
    epochs: int = 30  # needed on data of a few dozen items; not measured on large data
    batch: int = 256  # users whose pairs make one step
    pairs: int = 4  # context items drawn per interaction and epoch
    negatives: int = 1024  # shared by the batch, drawn by count^negative_power
    negative_power: float = 0.75  # word2vec's
    negative_weight: float = 5.0  # weight of the shared negatives, as negatives per positive
    subsample: float = 10.0  # items above this multiple of the mean count are subsampled, as in word2vec
    learning_rate: float = 0.005  # of Adam on unit rows; word2vec's .025 is for plain gradient steps

    def __post_init__(self) -> None:
        if min(self.dim, self.epochs, self.batch, self.pairs, self.negatives) < 1:
            raise InputError("item2vec: dim, epochs, batch, pairs and negatives must be at least 1", loc=("dim",))

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
        start = torch.from_numpy(
            initial_item_vectors(matrix, self.dim, exponent=START_EXPONENT, seed=seed, device=target)
        )
        inputs = torch.nn.Parameter(start.to(target))
        outputs = torch.nn.Parameter(torch.zeros_like(start).to(target))
        counts = torch.from_numpy(interactions.item_counts().astype(np.float32)).to(target)
        keep_share = (self.subsample * counts.mean() / counts.clamp_min(1e-12)).sqrt().clamp_max(1)
        noise = counts**self.negative_power

        def loss_of(cells: HistoryBatch, generator: torch.Generator, step: int) -> torch.Tensor:
            return self._loss(cells, inputs, outputs, keep_share, noise, generator)

        groups: list[dict[str, object]] = [{"params": [inputs, outputs], "lr": self.learning_rate}]
        gradient_descent(
            self, loss_of, groups, matrix, epochs=self.epochs, batch=self.batch, seed=seed, device=target,
            report=report, checkpoints=checkpoints,
        )  # fmt: skip
        return sum_of_items_space(inputs, interactions)

    def _loss(
        self,
        cells: HistoryBatch,
        inputs: torch.Tensor,
        outputs: torch.Tensor,
        keep_share: torch.Tensor,
        noise: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        device = cells.rows.device
        draw = torch.rand(len(cells.rows), generator=generator, device=device)
        cells = cells.select(draw < keep_share[cells.columns])
        lengths = torch.bincount(cells.rows, minlength=cells.n_users)
        starts = torch.cumsum(lengths, 0) - lengths
        centre = torch.arange(len(cells.rows), device=device).repeat(self.pairs)
        draw = torch.rand(len(centre), generator=generator, device=device)
        row = cells.rows[centre]
        context = starts[row] + (draw * lengths[row]).long().clamp_max(lengths[row] - 1)
        paired = context != centre
        centre, context = cells.columns[centre[paired]], cells.columns[context[paired]]
        if not len(centre):  # no history of the batch has two items
            return 0 * inputs.sum() + 0 * outputs.sum()
        centre_vectors = embedding(centre, inputs)
        positive = logsigmoid((centre_vectors * embedding(context, outputs)).sum(dim=1)).mean()
        drawn = torch.multinomial(noise, self.negatives, replacement=True, generator=generator)
        n_centres = len(centre_vectors)
        rows = torch.randint(n_centres, (min(n_centres, 2048),), generator=generator, device=device)
        sample = centre_vectors[rows]
        return -positive - self.negative_weight * logsigmoid(-(sample @ outputs[drawn].T)).mean()
