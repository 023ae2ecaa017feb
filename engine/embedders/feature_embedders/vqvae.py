"""vqvae: an autoencoder with a discrete latent (van den Oord et al. 2017): one code per slot, a codebook for each slot.

Codebooks follow the encoder by moving averages; unused entries are moved to records of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss, one_hot

from engine.codec.encoder_decoder import QuantisedCore
from engine.embedders.feature_embedders.autoencoder import check_network_parameters
from engine.embedders.feature_embedders.network import Network, encoder_decoder_pair
from engine.embedders.feature_embedders.pca import PCA
from engine.embedders.feature_embedders.training_loop import Schedule, train_module
from engine.errors import InputError
from engine.latent_space.space import Abilities
from engine.progress import Progress, no_progress
from engine.values.vectors import Matrix

DECAY = 0.97  # of the moving averages, per step
COMMITMENT = 0.25  # as in the paper
DEAD_USAGE = 0.05  # a code used less than this share of the mean usage is moved
SMOOTHING = 0.1  # total added to the counts of each transition row, so that no transition has probability 0


@dataclass(frozen=True)
class VQVAE:
    name: ClassVar[str] = "vqvae"
    abilities: ClassVar[Abilities] = Abilities("cosine", "linear", codec=True, samples=True)

    dim: int = 0  # 0: the default of pca
    codes: int = 256  # entries of each codebook: one byte per slot
    slot_dim: int = 1  # dimensions per code; fewer give smaller errors and longer codes
    hidden: int = 256
    epochs: int = 0  # 0: about 3,000 steps
    batch: int = 128
    learning_rate: float = 1e-3
    patience: int = 15

    def __post_init__(self) -> None:
        check_network_parameters(self.name, self.dim, self.hidden, self.epochs, self.batch, self.learning_rate)
        if self.codes < 2 or self.slot_dim < 1:
            raise InputError("vqvae: codes must be at least 2 and slot_dim at least 1", loc=("codes",))
        if self.dim % self.slot_dim:
            raise InputError(f"vqvae: dim {self.dim} is not a multiple of slot_dim {self.slot_dim}", loc=("slot_dim",))

    def fit(
        self, prepared: Matrix, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress
    ) -> QuantisedCore:
        """The core of (n, width) float32 records; latents are entries of the codebooks."""
        torch.manual_seed(seed)
        start = PCA(self.dim).fit(prepared)
        if start.dim % self.slot_dim:
            start = PCA(start.dim - start.dim % self.slot_dim or self.slot_dim).fit(prepared)
        latent = start.encode(prepared[np.random.default_rng(seed).permutation(len(prepared))[: 8 * self.codes]])
        codebook = _initial_codebooks(latent, start.dim // self.slot_dim, self.codes, seed)
        module = _VQVAE(*encoder_decoder_pair(start, (self.hidden, self.hidden // 2)), torch.from_numpy(codebook))
        schedule = Schedule(self.epochs, self.batch, self.learning_rate, self.patience)
        train_module(self.name, module, prepared, schedule, seed=seed, device=device, progress=progress)
        return _quantised_core(module, prepared)


class _VQVAE(nn.Module):
    codebook: torch.Tensor  # (n_slots, n_codes, slot_dim)
    counts: torch.Tensor
    sums: torch.Tensor

    def __init__(self, encoder: Network, decoder: Network, codebook: torch.Tensor):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.register_buffer("codebook", codebook.clone())
        self.register_buffer("counts", torch.ones(codebook.shape[:2]))
        self.register_buffer("sums", codebook.clone())

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        return [list(self.parameters())]

    def losses(self, batch: torch.Tensor, share_done: float) -> Iterator[torch.Tensor]:
        latent = self.encoder(batch)
        codes, quantised = self._quantised(latent)
        self._update_codebooks(latent.detach(), codes)
        straight_through = latent + (quantised - latent).detach()  # the gradient ignores the quantisation
        yield mse_loss(self.decoder(straight_through), batch) + COMMITMENT * mse_loss(latent, quantised) / len(
            self.codebook
        )

    def held_out_loss(self, batch: torch.Tensor) -> torch.Tensor:
        return mse_loss(self.decoder(self._quantised(self.encoder(batch))[1]), batch)

    def _quantised(self, latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The nearest codes (n_slots, n), and their codebook entries as latent (n, dim)."""
        n_slots, _, slot_dim = self.codebook.shape
        parts = latent.detach().reshape(len(latent), n_slots, slot_dim).transpose(0, 1)
        distances = (self.codebook**2).sum(dim=2)[:, None] - 2 * parts @ self.codebook.transpose(1, 2)
        codes = distances.argmin(dim=2)
        entries = torch.gather(self.codebook, 1, codes[:, :, None].expand(-1, -1, slot_dim))
        return codes, entries.transpose(0, 1).reshape(len(latent), -1)

    def _update_codebooks(self, latent: torch.Tensor, codes: torch.Tensor) -> None:
        """Update the moving averages of the codebooks; an unused code moves to a random record of the batch."""
        n_slots, n_codes, slot_dim = self.codebook.shape
        parts = latent.reshape(len(latent), n_slots, slot_dim).transpose(0, 1)
        hot = one_hot(codes, n_codes).to(latent.dtype)
        self.counts.mul_(DECAY).add_(hot.sum(dim=1), alpha=1 - DECAY)
        self.sums.mul_(DECAY).add_(hot.transpose(1, 2) @ parts, alpha=1 - DECAY)
        mean_usage = len(latent) / n_codes
        dead = self.counts < DEAD_USAGE * min(mean_usage, 1.0)
        chosen = torch.randint(len(latent), dead.shape, device=latent.device)
        moved = torch.gather(parts, 1, chosen[:, :, None].expand(-1, -1, slot_dim))
        self.sums.copy_(torch.where(dead[:, :, None], moved, self.sums))
        self.counts.copy_(torch.where(dead, torch.ones_like(self.counts), self.counts))
        self.codebook.copy_(self.sums / self.counts.clamp_min(1e-5)[:, :, None])


def _initial_codebooks(latent: Matrix, n_slots: int, n_codes: int, seed: int) -> Matrix:
    """Initial codebooks, (n_slots, n_codes, slot_dim): records at evenly spaced ranks of the first slot dimension."""
    parts = latent.reshape(len(latent), n_slots, -1)
    draw = np.random.default_rng(seed)
    books = []
    for slot in range(n_slots):
        ordered = parts[np.argsort(parts[:, slot, 0]), slot]
        ranks = np.linspace(0, len(ordered) - 1, n_codes).astype(np.int64)
        noise = draw.standard_normal((n_codes, parts.shape[2])) * 1e-4 * (ordered.std(axis=0) + 1e-6)
        books.append(ordered[ranks] + noise)
    return np.stack(books).astype(np.float32)


def _quantised_core(module: _VQVAE, prepared: Matrix) -> QuantisedCore:
    """The numpy core, with the frequencies of first codes and of transitions between the codes of adjacent slots."""
    codebook = module.codebook.detach().cpu().numpy().astype(np.float32)
    n_slots, n_codes, _ = codebook.shape
    empty = np.zeros((max(n_slots - 1, 0), n_codes, n_codes), np.float32)
    bare = QuantisedCore(
        module.encoder.perceptron(), module.decoder.perceptron(), codebook, np.ones(n_codes, np.float32), empty
    )
    codes = bare.codes(prepared)
    first = np.bincount(codes[:, 0], minlength=n_codes).astype(np.float32)
    chain = np.full_like(empty, SMOOTHING / n_codes)
    for slot in range(n_slots - 1):
        np.add.at(chain[slot], (codes[:, slot], codes[:, slot + 1]), 1)
    shares = chain / chain.sum(axis=2, keepdims=True) if n_slots > 1 else chain
    return QuantisedCore(bare.encoder, bare.decoder, codebook, first / first.sum(), shares)
