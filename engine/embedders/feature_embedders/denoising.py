"""denoising: an autoencoder that reconstructs records from copies with blanked columns (Vincent et al. 2008)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import mse_loss

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
class Denoising:
    name: ClassVar[str] = "denoising"
    abilities: ClassVar[Abilities] = Abilities("cosine", "linear", codec=True)

    dim: int = 0  # 0: the default of pca
    corruption: float = 0.2  # share of the cells that are set to 0, the column mean after preprocessing
    hidden: int = 256
    epochs: int = 0  # 0: about 3,000 steps
    batch: int = 128
    learning_rate: float = 1e-3
    patience: int = 15

    def __post_init__(self) -> None:
        check_network_parameters(self.name, self.dim, self.hidden, self.epochs, self.batch, self.learning_rate)
        if not 0 <= self.corruption < 1:
            raise InputError(
                f"denoising: corruption must be a share from 0 to below 1, got {self.corruption:g}", loc=("corruption",)
            )

    def fit(
        self, prepared: Matrix, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress
    ) -> NetworkCore:
        """The core of (n, width) float32 records; early stopping uses uncorrupted records."""
        torch.manual_seed(seed)
        start = PCA(self.dim).fit(prepared)
        module = _Denoising(*encoder_decoder_pair(start, (self.hidden, self.hidden // 2)), self.corruption)
        schedule = Schedule(self.epochs, self.batch, self.learning_rate, self.patience)
        train_module(self.name, module, prepared, schedule, seed=seed, device=device, progress=progress)
        return NetworkCore(module.encoder.perceptron(), module.decoder.perceptron(), is_normal=False)


class _Denoising(nn.Module):
    def __init__(self, encoder: Network, decoder: Network, corruption: float):
        super().__init__()
        self.encoder, self.decoder, self.corruption = encoder, decoder, corruption

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        return [list(self.parameters())]

    def losses(self, batch: torch.Tensor, share_done: float) -> Iterator[torch.Tensor]:
        mask = torch.rand_like(batch) >= self.corruption
        yield mse_loss(self.decoder(self.encoder(batch * mask)), batch)

    def held_out_loss(self, batch: torch.Tensor) -> torch.Tensor:
        return mse_loss(self.decoder(self.encoder(batch)), batch)
