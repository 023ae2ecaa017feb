"""aae: an adversarial autoencoder (Makhzani et al. 2015), whose critic drives the latent to a standard normal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from engine.codec.encoder_decoder import NetworkCore
from engine.embedders.feature_embedders.autoencoder import check_network_parameters
from engine.embedders.feature_embedders.network import Network, encoder_decoder_pair
from engine.embedders.feature_embedders.pca import PCA
from engine.embedders.feature_embedders.training_loop import Schedule, train_module
from engine.errors import InputError
from engine.latent_space.space import Abilities
from engine.progress import Progress, no_progress
from engine.values.vectors import Matrix


@dataclass(frozen=True)
class AAE:
    name: ClassVar[str] = "aae"
    abilities: ClassVar[Abilities] = Abilities("cosine", "linear", codec=True, samples=True)

    dim: int = 0  # 0: the default of pca
    adversary: float = 0.02  # weight of the adversarial loss against the reconstruction error
    hidden: int = 256
    epochs: int = 0  # 0: about 3,000 steps
    batch: int = 128
    learning_rate: float = 1e-3
    patience: int = 15

    def __post_init__(self) -> None:
        check_network_parameters(self.name, self.dim, self.hidden, self.epochs, self.batch, self.learning_rate)
        if self.adversary < 0:
            raise InputError("aae: adversary must be 0 or more", loc=("adversary",))

    def fit(
        self, prepared: Matrix, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress
    ) -> NetworkCore:
        """The core of (n, width) float32 records; it samples from the standard normal."""
        torch.manual_seed(seed)
        start = PCA(self.dim).fit(prepared)
        encoder, decoder = encoder_decoder_pair(start, (self.hidden, self.hidden // 2), unit_variance=True)
        module = _AAE(encoder, decoder, start.dim, self.adversary)
        # the critic needs the first half to become effective; earlier latents are far from normal
        schedule = Schedule(self.epochs, self.batch, self.learning_rate, self.patience, burn_in=0.5)
        train_module(self.name, module, prepared, schedule, seed=seed, device=device, progress=progress)
        return NetworkCore(module.encoder.perceptron(), module.decoder.perceptron(), is_normal=True)


class _AAE(nn.Module):
    def __init__(self, encoder: Network, decoder: Network, dim: int, adversary: float):
        super().__init__()
        self.encoder, self.decoder, self.adversary = encoder, decoder, adversary
        self.critic = nn.Sequential(
            nn.Linear(dim, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
        )

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        return [list(self.critic.parameters()), [*self.encoder.parameters(), *self.decoder.parameters()]]

    def losses(self, batch: torch.Tensor, share_done: float) -> Iterator[torch.Tensor]:
        encoded = self.encoder(batch).detach()
        yield _critic_loss(self.critic(torch.randn_like(encoded)), 1.0) + _critic_loss(self.critic(encoded), 0.0)
        latent = self.encoder(batch)
        yield mse_loss(self.decoder(latent), batch) + self.adversary * _critic_loss(self.critic(latent), 1.0)

    def held_out_loss(self, batch: torch.Tensor) -> torch.Tensor:
        return mse_loss(self.decoder(self.encoder(batch)), batch)


def _critic_loss(logits: torch.Tensor, truth: float) -> torch.Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))
