"""Cores: the encoder and decoder between prepared features and latents, one class per kind of model. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.codec import perceptron
from engine.codec.perceptron import Perceptron
from engine.errors import InputError
from engine.values.vectors import Matrix

Arrays = Mapping[str, npt.NDArray]
Codes = npt.NDArray[np.int64]
GENERATIVE = "vae, vqvae and aae"


class Core(Protocol):
    @property
    def dim(self) -> int: ...

    def encode(self, prepared: Matrix) -> Matrix:
        """(n, width) float32 -> (n, dim) float32."""
        ...

    def decode(self, latent: Matrix) -> Matrix:
        """(n, dim) float32 -> (n, width) float32."""
        ...

    def sample(self, n: int, draw: np.random.Generator) -> Matrix:
        """(n, dim) latents drawn from the model's distribution; InputError for a model without one."""
        ...

    def state(self) -> tuple[str, Arrays]:
        """The name and arrays from which `restore` restores it."""
        ...


@dataclass(frozen=True, eq=False)
class LinearCore:
    """latent = (x - mean) @ components.T; the decoder is its transpose."""

    mean: Matrix  # (width,)
    components: Matrix  # (dim, width), orthonormal rows, largest variance first
    variances: Matrix  # (dim,) of each component

    @property
    def dim(self) -> int:
        return len(self.components)

    def encode(self, prepared: Matrix) -> Matrix:
        latent = prepared @ self.components.T
        latent -= self.components @ self.mean
        return latent

    def decode(self, latent: Matrix) -> Matrix:
        return np.asarray(latent @ self.components + self.mean, dtype=np.float32)

    def sample(self, n: int, draw: np.random.Generator) -> Matrix:
        raise InputError(f"pca does not learn a distribution, so it cannot sample; {GENERATIVE} can")

    def state(self) -> tuple[str, Arrays]:
        return "linear", {"mean": self.mean, "components": self.components, "variances": self.variances}


@dataclass(frozen=True, eq=False)
class NetworkCore:
    """Encoder and decoder networks. `is_normal`: latents were trained to be standard normal, so it can sample.

    `kl` is the mean KL of each dimension in nats where the encoder has an uncertainty (vae), else None.
    """

    encoder: Perceptron
    decoder: Perceptron
    is_normal: bool
    kl: Matrix | None = None

    @property
    def dim(self) -> int:
        return int(self.encoder.straight.shape[1])

    def encode(self, prepared: Matrix) -> Matrix:
        return self.encoder(prepared)

    def decode(self, latent: Matrix) -> Matrix:
        return self.decoder(latent)

    def sample(self, n: int, draw: np.random.Generator) -> Matrix:
        if not self.is_normal:
            raise InputError(f"this model has not learnt a distribution, so it cannot sample; {GENERATIVE} can")
        return draw.standard_normal((n, self.dim), dtype=np.float32)

    def state(self) -> tuple[str, Arrays]:
        normal = np.array([self.is_normal], np.float32)
        own = {"normal": normal} | ({} if self.kl is None else {"kl": self.kl})
        return "network", self.encoder.arrays("encoder") | self.decoder.arrays("decoder") | own


@dataclass(frozen=True, eq=False)
class QuantisedCore:
    """Each slot of the latent is replaced by the nearest entry of its codebook (van den Oord et al. 2017)."""

    encoder: Perceptron
    decoder: Perceptron
    codebook: Matrix  # (n_slots, n_codes, slot_dim); dim = n_slots * slot_dim
    first: Matrix  # (n_codes,) share of each code in the first slot
    chain: Matrix  # (n_slots - 1, n_codes, n_codes) share of the next slot's code after each code

    @property
    def dim(self) -> int:
        return int(self.codebook.shape[0] * self.codebook.shape[2])

    def codes(self, prepared: Matrix) -> Codes:
        """(n, n_slots) codes: the index of the nearest codebook entry of each slot."""
        latent = self.encoder(prepared)
        if self.codebook.shape[2] > 1:
            return nearest_codes(latent, self.codebook)
        codes = np.empty((len(latent), len(self.codebook)), np.int64)
        for slot, (order, borders) in enumerate(zip(*self.ranked, strict=True)):
            codes[:, slot] = order[np.searchsorted(borders, latent[:, slot])]
        return codes

    @cached_property
    def ranked(self) -> tuple[Codes, Matrix]:
        """Codes of one-dimensional slots in the order of their entries, and the borders half-way between these."""
        entries = self.codebook[:, :, 0]
        order = entries.argsort(axis=1)
        ranked = np.take_along_axis(entries, order, axis=1)
        borders = (ranked[:, 1:] + ranked[:, :-1]) / 2
        return order.astype(np.int64), borders.astype(np.float32)

    def from_codes(self, codes: Codes) -> Matrix:
        parts = [self.codebook[slot][codes[:, slot]] for slot in range(len(self.codebook))]
        return np.concatenate(parts, axis=1)

    def encode(self, prepared: Matrix) -> Matrix:
        return self.from_codes(self.codes(prepared))

    def decode(self, latent: Matrix) -> Matrix:
        return self.decoder(latent)

    def sample(self, n: int, draw: np.random.Generator) -> Matrix:
        """Codes sampled slot by slot from a Markov chain, with the transition frequencies of the training records."""
        codes = np.empty((n, len(self.codebook)), np.int64)
        codes[:, 0] = _drawn(np.broadcast_to(self.first, (n, len(self.first))), draw)
        for slot in range(1, len(self.codebook)):
            codes[:, slot] = _drawn(self.chain[slot - 1][codes[:, slot - 1]], draw)
        return self.from_codes(codes)

    def state(self) -> tuple[str, Arrays]:
        own = {"codebook": self.codebook, "first": self.first, "chain": self.chain}
        return "quantised", self.encoder.arrays("encoder") | self.decoder.arrays("decoder") | own


def nearest_codes(latent: Matrix, codebook: Matrix) -> Codes:
    """(n, dim) and (n_slots, n_codes, slot_dim) -> (n, n_slots)."""
    n_slots, _, slot_dim = codebook.shape
    parts = latent.reshape(len(latent), n_slots, slot_dim)
    squares = (codebook**2).sum(axis=2)
    codes = [(squares[s] - 2 * parts[:, s] @ codebook[s].T).argmin(axis=1) for s in range(n_slots)]
    return np.stack(codes, axis=1)


def restore(name: str, arrays: Arrays) -> Core:
    """Restore a core from its `state()` (name, arrays)."""
    if name == "linear":
        return LinearCore(arrays["mean"], arrays["components"], arrays["variances"])
    encoder, decoder = perceptron.restore(arrays, "encoder"), perceptron.restore(arrays, "decoder")
    if name == "network":
        return NetworkCore(encoder, decoder, bool(arrays["normal"][0]), arrays.get("kl"))
    if name == "quantised":
        return QuantisedCore(encoder, decoder, arrays["codebook"], arrays["first"], arrays["chain"])
    raise ValueError(f"unknown core {name!r}; expected linear, network or quantised")


def _drawn(shares: Matrix, draw: np.random.Generator) -> Codes:
    """One index per row, drawn with the probabilities of the row."""
    sums = np.cumsum(shares, axis=1, dtype=np.float64)
    return np.asarray((draw.random((len(shares), 1)) * sums[:, -1:] > sums).sum(axis=1), dtype=np.int64)
