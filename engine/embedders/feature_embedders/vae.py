"""vae: a variational autoencoder (Kingma and Welling 2014) with the decoder's variance at its optimum.

loss = width/2 log(mse) + beta KL(q(z|x) || N(0, 1)), the sigma-VAE of Rybkin et al. 2021: beta = 1 needs no tuning to
the scale of the data. The weight of the KL rises over the first epochs, because otherwise dimensions collapse early.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from engine.codec.encoder_decoder import LinearCore, NetworkCore
from engine.embedders.feature_embedders.autoencoder import check_network_parameters
from engine.embedders.feature_embedders.network import Network, encoder_decoder_pair
from engine.embedders.feature_embedders.pca import PCA
from engine.embedders.feature_embedders.training_loop import Schedule, train_module
from engine.errors import InputError
from engine.latent_space.space import Abilities
from engine.progress import Progress, no_progress
from engine.values.vectors import Matrix

START_LOG_VARIANCE = -3.0
KL_ROWS = 4096  # on which the KL of each dimension is measured


@dataclass(frozen=True)
class VAE:
    name: ClassVar[str] = "vae"
    abilities: ClassVar[Abilities] = Abilities("cosine", "linear", codec=True, samples=True)

    dim: int = 0  # 0: the default of pca
    beta: float = 1.0  # above 1: fewer, more independent dimensions (Higgins et al. 2017)
    warm_up: float = 0.2  # share of the epochs in which the weight of the KL rises to beta
    hidden: int = 256
    epochs: int = 0  # 0: about 3,000 steps
    batch: int = 128
    learning_rate: float = 1e-3
    patience: int = 15

    def __post_init__(self) -> None:
        check_network_parameters(self.name, self.dim, self.hidden, self.epochs, self.batch, self.learning_rate)
        if self.beta < 0 or not 0 <= self.warm_up <= 1:
            raise InputError("vae: beta must be at least 0 and warm_up a share from 0 to 1", loc=("beta",))

    def fit(
        self, prepared: Matrix, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress
    ) -> NetworkCore:
        """The core of (n, width) float32 records; it encodes to the mean and samples from the standard normal."""
        torch.manual_seed(seed)
        module = _VAE(PCA(self.dim).fit(prepared), self.hidden, self.beta, self.warm_up)
        schedule = Schedule(self.epochs, self.batch, self.learning_rate, self.patience, burn_in=self.warm_up)
        train_module(self.name, module, prepared, schedule, seed=seed, device=device, progress=progress)
        kl = module.kl_of(prepared[:KL_ROWS])
        return NetworkCore(module.encoder.perceptron(module.dim), module.decoder.perceptron(), is_normal=True, kl=kl)


class _VAE(nn.Module):
    def __init__(self, start: LinearCore, hidden: int, beta: float, warm_up: float):
        super().__init__()
        mean, self.decoder = encoder_decoder_pair(start, (hidden, hidden // 2), unit_variance=True)
        initial = mean.perceptron()
        straight, bias = initial.straight, initial.biases[-1]
        log_variance = np.full_like(bias, START_LOG_VARIANCE)
        self.encoder = Network(
            np.concatenate([straight, np.zeros_like(straight)], axis=1),
            np.concatenate([bias, log_variance]),
            (hidden, hidden // 2),
        )
        self.dim, self.beta, self.warm_up = start.dim, beta, warm_up

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        return [list(self.parameters())]

    def losses(self, batch: torch.Tensor, share_done: float) -> Iterator[torch.Tensor]:
        mean, log_variance = self._posterior(batch)
        latent = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
        warm = min(1.0, share_done / self.warm_up) if self.warm_up else 1.0
        yield self._loss(batch, latent, mean, log_variance, warm * self.beta)

    def held_out_loss(self, batch: torch.Tensor) -> torch.Tensor:
        mean, log_variance = self._posterior(batch)
        return self._loss(batch, mean, mean, log_variance, self.beta)

    def kl_of(self, prepared: Matrix) -> Matrix:
        """Mean KL of each dimension in nats, (dim,); a dimension with 0 carries no information."""
        inputs = torch.from_numpy(np.ascontiguousarray(prepared)).to(self.encoder.straight.device)
        with torch.no_grad():
            return _kl(*self._posterior(inputs)).mean(dim=0).cpu().numpy()

    def _posterior(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        moments = self.encoder(batch)
        return moments[:, : self.dim], moments[:, self.dim :].clamp(-12, 4)

    def _loss(
        self, batch: torch.Tensor, latent: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor, weight: float
    ) -> torch.Tensor:
        mse = mse_loss(self.decoder(latent), batch)
        nats = 0.5 * batch.shape[1] * torch.log(mse + 1e-8) + weight * _kl(mean, log_variance).sum(dim=1).mean()
        return nats / batch.shape[1]


def _kl(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    return 0.5 * (mean**2 + torch.exp(log_variance) - log_variance - 1)
