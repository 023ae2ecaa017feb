"""autoencoder: an encoder and a decoder network, initialised with the principal components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import mse_loss

from engine.codec.encoder_decoder import NetworkCore
from engine.embedders.feature_embedders.network import Network, encoder_decoder_pair
from engine.embedders.feature_embedders.pca import PCA
from engine.embedders.feature_embedders.training_loop import Schedule, train_module
from engine.errors import InputError
from engine.latent_space.space import Abilities
from engine.progress import Progress, no_progress
from engine.values.vectors import Matrix


@dataclass(frozen=True)
class Autoencoder:
    name: ClassVar[str] = "autoencoder"
    abilities: ClassVar[Abilities] = Abilities("cosine", "linear", codec=True)

    dim: int = 0  # 0: the default of pca
    hidden: int = 256  # width of the first hidden layer; the second has half
    epochs: int = 0  # 0: about 3,000 steps
    batch: int = 128
    learning_rate: float = 1e-3
    patience: int = 15

    def __post_init__(self) -> None:
        check_network_parameters(self.name, self.dim, self.hidden, self.epochs, self.batch, self.learning_rate)

    def fit(
        self, prepared: Matrix, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress
    ) -> NetworkCore:
        """The core of (n, width) float32 records; never worse than pca on the held-out records of early stopping."""
        torch.manual_seed(seed)
        module = _Autoencoder(*encoder_decoder_pair(PCA(self.dim).fit(prepared), (self.hidden, self.hidden // 2)))
        schedule = Schedule(self.epochs, self.batch, self.learning_rate, self.patience)
        train_module(self.name, module, prepared, schedule, seed=seed, device=device, progress=progress)
        return NetworkCore(module.encoder.perceptron(), module.decoder.perceptron(), is_normal=False)


class _Autoencoder(nn.Module):
    def __init__(self, encoder: Network, decoder: Network):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        return [list(self.parameters())]

    def losses(self, batch: torch.Tensor, share_done: float) -> Iterator[torch.Tensor]:
        yield self.held_out_loss(batch)

    def held_out_loss(self, batch: torch.Tensor) -> torch.Tensor:
        return mse_loss(self.decoder(self.encoder(batch)), batch)


def check_network_parameters(name: str, dim: int, hidden: int, epochs: int, batch: int, learning_rate: float) -> None:
    """Raise InputError for an invalid hyper-parameter of a network."""
    if dim < 0 or epochs < 0:
        raise InputError(f"{name}: dim and epochs cannot be negative", loc=("dim",))
    if hidden < 2 or batch < 1:
        raise InputError(f"{name}: hidden must be at least 2 and batch at least 1", loc=("hidden",))
    if not learning_rate > 0:
        raise InputError(f"{name}: learning_rate must be above 0, got {learning_rate:g}", loc=("learning_rate",))
