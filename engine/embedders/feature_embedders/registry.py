"""Embedders of feature records by name, and the default by the size of the data."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

from engine.codec.encoder_decoder import Core
from engine.embedders.parameters import with_parameters
from engine.errors import InputError
from engine.latent_space.space import Abilities
from engine.progress import Progress, no_progress
from engine.values.vectors import Matrix

FEATURE_EMBEDDERS: Mapping[str, str] = {
    "pca": "PCA",
    "autoencoder": "Autoencoder",
    "vae": "VAE",
    "denoising": "Denoising",
    "vqvae": "VQVAE",
    "aae": "AAE",
}
AUTO_FEATURES = "features"  # the name for the choice of `choose_by_size`
MIN_NETWORK_ROWS, MIN_NETWORK_COLUMNS = 5_000, 32  # from here a network beats pca (mnist: half its error)


class FeatureEmbedder(Protocol):
    """A frozen dataclass of hyper-parameters, among them `dim` (0: chosen by the data), with a `fit`."""

    @property
    def name(self) -> str: ...

    @property
    def abilities(self) -> Abilities: ...

    def fit(
        self, prepared: Matrix, *, seed: int = 0, device: str = "cpu", progress: Progress = no_progress
    ) -> Core: ...


def is_feature_embedder(name: str) -> bool:
    return name in FEATURE_EMBEDDERS or name == AUTO_FEATURES


def make(name: str, params: Mapping[str, str | float | int] | None = None) -> FeatureEmbedder:
    """The embedder `name` with `params` over its defaults. InputError lists the valid names or parameters."""
    if name not in FEATURE_EMBEDDERS:
        raise InputError(f"expected an embedder of {', '.join(FEATURE_EMBEDDERS)}, got {name!r}", loc=("embedder",))
    kind = getattr(import_module(f"engine.embedders.feature_embedders.{name}"), FEATURE_EMBEDDERS[name])
    embedder: FeatureEmbedder = with_parameters(name, kind, params)
    return embedder


def choose_by_size(n: int, width: int) -> tuple[str, str]:
    """The name of the embedder for n records of `width` preprocessed columns, and the reason."""
    if n < MIN_NETWORK_ROWS:
        return "pca", f"pca: {n:,} records are few; a network needs about {MIN_NETWORK_ROWS:,} to beat it"
    if width < MIN_NETWORK_COLUMNS:
        return "pca", f"pca: {width} columns are few; a network is used from {MIN_NETWORK_COLUMNS} columns on"
    return "autoencoder", f"autoencoder: {n:,} records of {width} columns are enough for a network to beat pca"
