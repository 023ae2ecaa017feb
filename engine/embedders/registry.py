"""Embedders by name, imported when asked for: torch costs a second and a half."""

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
    """The embedder `name` with `params` over its defaults; text values are read as the field's type.

    Raises InputError naming the embedders, or the parameters, that there are.
    """
    if name not in EMBEDDERS:
        raise InputError(f"expected an embedder of {', '.join(EMBEDDERS)}, got {name!r}", loc=("embedder",))
    kind = getattr(import_module(f"engine.embedders.{name}"), EMBEDDERS[name])
    made: Embedder = with_parameters(name, kind, params)
    return made
