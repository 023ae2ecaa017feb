"""Embedders by name, imported when asked for: torch costs a second and a half."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib import import_module

from engine.errors import InputError
from engine.space import Embedder

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
    types: dict[str, Callable[[object], object]] = {field.name: type(field.default) for field in fields(kind)}
    values: dict[str, object] = {}
    for key, value in (params or {}).items():
        if key not in types:
            raise InputError(f"{name} has no parameter {key!r}; it has {', '.join(types)}", loc=("set", key))
        try:
            values[key] = types[key](value)
            if not math.isfinite(float(str(values[key]))):
                raise ValueError(value)
        except (ValueError, OverflowError):  # OverflowError: int of infinity
            expected = "whole" if types[key] is int else "finite"
            raise InputError(f"{key} of {name} is a {expected} number, got {value!r}", loc=("set", key)) from None
    made: Embedder = kind(**values)
    return made
