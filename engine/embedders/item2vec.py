"""item2vec: skip-gram with negative sampling over histories (Barkan and Koenigstein 2016), as word2vec does for text.

Two items of one history are a pair; a history has no order, so its window is all of it. An item is its unit input
vector and a user the weighted sum of the history's: one cosine search serves it, and similar items are what it is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn.functional import embedding, logsigmoid

from engine.checkpoints import Checkpoints
from engine.embedders.factorisation.normalised_svd import unit_rows
from engine.embedders.factorisation.sum_of_items import summed
from engine.embedders.training.device import pick
from engine.embedders.training.gradient_descent import Cells, Report, descend, silent
from engine.errors import InputError
from engine.latent_space.space import Abilities, LatentSpace
from engine.values.interactions import Interactions

# degree exponents of the factors that training starts from; a random start needs ten times the epochs
START_EXPONENT = 0.4


@dataclass(frozen=True)
class Item2Vec:
    name: ClassVar[str] = "item2vec"
    abilities: ClassVar[Abilities] = Abilities("cosine", "linear", resumable=True)

    dim: int = 128  # as mf and ials
    epochs: int = 30  # worlds of some dozens of items need them; there is no figure on large data
    batch: int = 256  # users; their pairs are one step
    pairs: int = 4  # context items drawn for every cell in an epoch
    negatives: int = 1024  # shared by the batch, drawn by count^negative_power
    negative_power: float = 0.75  # word2vec's
    negative_weight: float = 5.0  # negatives per positive that the shared ones stand for
    subsample: float = 10.0  # an item with more than so many times the mean count is left out in part, as in word2vec
    learning_rate: float = 0.005  # of Adam on unit rows; word2vec's .025 is for plain gradient steps

    def __post_init__(self) -> None:
        if min(self.dim, self.epochs, self.batch, self.pairs, self.negatives) < 1:
            raise InputError("item2vec: dim, epochs, batch, pairs and negatives are at least 1", loc=("dim",))

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
        start = torch.from_numpy(unit_rows(matrix, self.dim, exponent=START_EXPONENT, seed=seed, device=where))
        inputs = torch.nn.Parameter(start.to(where))
        outputs = torch.nn.Parameter(torch.zeros_like(start).to(where))
        counts = torch.from_numpy(interactions.item_counts().astype(np.float32)).to(where)
        kept = (self.subsample * counts.mean() / counts.clamp_min(1e-12)).sqrt().clamp_max(1)
        noise = counts**self.negative_power

        def loss_of(cells: Cells, generator: torch.Generator, step: int) -> torch.Tensor:
            return self._loss(cells, inputs, outputs, kept, noise, generator)

        groups: list[dict[str, object]] = [{"params": [inputs, outputs], "lr": self.learning_rate}]
        descend(
            self, loss_of, groups, matrix, epochs=self.epochs, batch=self.batch, seed=seed, device=where,
            report=report, checkpoints=checkpoints,
        )  # fmt: skip
        return summed(inputs, interactions)

    def _loss(
        self,
        cells: Cells,
        inputs: torch.Tensor,
        outputs: torch.Tensor,
        kept: torch.Tensor,
        noise: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        here = cells.rows.device
        cells = cells.where(torch.rand(len(cells.rows), generator=generator, device=here) < kept[cells.columns])
        lengths = torch.bincount(cells.rows, minlength=cells.n_users)
        starts = torch.cumsum(lengths, 0) - lengths
        centre = torch.arange(len(cells.rows), device=here).repeat(self.pairs)
        draw = torch.rand(len(centre), generator=generator, device=here)
        row = cells.rows[centre]
        context = starts[row] + (draw * lengths[row]).long().clamp_max(lengths[row] - 1)
        paired = context != centre
        centre, context = cells.columns[centre[paired]], cells.columns[context[paired]]
        if not len(centre):  # no history with two items
            return 0 * inputs.sum() + 0 * outputs.sum()
        near = embedding(centre, inputs)
        positive = logsigmoid((near * embedding(context, outputs)).sum(dim=1)).mean()
        drawn = torch.multinomial(noise, self.negatives, replacement=True, generator=generator)
        sample = near[torch.randint(len(near), (min(len(near), 2048),), generator=generator, device=here)]
        return -positive - self.negative_weight * logsigmoid(-(sample @ outputs[drawn].T)).mean()
