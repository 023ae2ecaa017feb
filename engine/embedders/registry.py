"""Embedders of interactions by name. A module is imported when it is needed, because torch takes 1.5 s to import."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from engine.embedders.parameters import with_parameters
from engine.errors import InputError
from engine.latent_space.space import Embedder

EMBEDDERS: Mapping[str, str] = {
    "spectral": "Spectral",
    "ease": "Ease",
    "blend": "Blend",
    "ials": "IALS",
    "mf": "MF",
    "elsa": "Elsa",
    "multvae": "MultVAE",
    "item2vec": "Item2Vec",
}


def make(name: str, params: Mapping[str, str | float | int] | None = None) -> Embedder:
    """The embedder `name` with `params` over its defaults; text values are converted to the field's type.

    Raises InputError that lists the valid embedders or parameters.
    """
    if name not in EMBEDDERS:
        raise InputError(f"expected an embedder of {', '.join(EMBEDDERS)}, got {name!r}", loc=("embedder",))
    kind = getattr(import_module(f"engine.embedders.{name}"), EMBEDDERS[name])
    embedder: Embedder = with_parameters(name, kind, params)
    return embedder
