"""Sampling: new records from the distribution that a codec learned."""

from __future__ import annotations

import numpy as np

from engine.codec.feature_codec import FeatureCodec
from engine.values.features import Values
from engine.values.vectors import Matrix


def sample(codec: FeatureCodec, n: int, *, seed: int) -> tuple[Matrix, Values]:
    """(n, dim) latents drawn from the model's distribution, and their decoded records.

    Raises InputError for a model that has no distribution.
    """
    latent = codec.core.sample(n, np.random.default_rng(seed))
    return latent, codec.decode(latent)
