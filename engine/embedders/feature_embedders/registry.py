"""Dense embedders by name, and the one to take when nobody says."""

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
AUTO_FEATURES = "features"  # the name that leaves the choice to `choose`
MIN_NETWORK_ROWS, MIN_NETWORK_COLUMNS = (
    5_000,
    32,
)  # from here a network has something to learn that pca cannot (mnist: half its error)


class FeatureEmbedder(Protocol):
    """Hyper-parameters with a fit; a frozen dataclass with a `name`, `abilities` and a `dim`, 0: by the data."""

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
    """The dense embedder `name` with `params` over its defaults; InputError naming those that there are."""
    if name not in FEATURE_EMBEDDERS:
        raise InputError(f"expected an embedder of {', '.join(FEATURE_EMBEDDERS)}, got {name!r}", loc=("embedder",))
    kind = getattr(import_module(f"engine.embedders.feature_embedders.{name}"), FEATURE_EMBEDDERS[name])
    made: FeatureEmbedder = with_parameters(name, kind, params)
    return made


def choose_by_size(n: int, width: int) -> tuple[str, str]:
    """The embedder for n records of `width` prepared columns, and why."""
    if n < MIN_NETWORK_ROWS:
        return "pca", f"pca: {n:,} records are few; a network needs about {MIN_NETWORK_ROWS:,} to learn more than it"
    if width < MIN_NETWORK_COLUMNS:
        return "pca", f"pca: {width} columns leave a network little to bend; from {MIN_NETWORK_COLUMNS} on it is tried"
    return "autoencoder", f"autoencoder: {n:,} records of {width} columns are enough for a network to beat pca"
