"""The search space of `tune`: the ranges of hyper-parameters per embedder, and the parameters of the first trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from engine.embedders.default_dims import DEFAULT_SPHERE_DIM
from engine.embedders.registry import make


@dataclass(frozen=True)
class Range:
    low: float
    high: float
    log: bool = False
    whole: bool = False
    step: float | None = None  # exponents of closed forms move in steps, so that trials share SVDs; not with log


EXPONENT = Range(0.0, 0.6, step=0.04)
FREE_EXPONENT = Range(0.0, 1.2)  # needs no SVD of its own; above .6 for shops where few items sell
TREND = Range(0.0, 1.5)
RIDGE = Range(0.002, 1.0, log=True)
SPACES: Mapping[str, Mapping[str, Range]] = {
    "spectral": {
        "dim": Range(32, 2048, log=True, whole=True),
        "user_exponent": EXPONENT,
        "item_exponent": EXPONENT,
        "out_exponent": FREE_EXPONENT,
        "ridge": RIDGE,
        "trend": TREND,
    },
    "ease": {
        "dim": Range(256, 4096, log=True, whole=True),
        "ridge": RIDGE,
        "user_exponent": EXPONENT,
        "item_exponent": EXPONENT,
    },
    "blend": {
        "dim": Range(32, 2048, log=True, whole=True),
        "wide": Range(0, 2048, whole=True, step=128),
        "weight": Range(0.1, 3.0, log=True),
        "user_exponent": EXPONENT,
        "item_exponent": EXPONENT,
        "out_exponent": FREE_EXPONENT,
        "ridge": RIDGE,
        "wide_ridge": RIDGE,
        "wide_user_exponent": EXPONENT,
        "wide_item_exponent": EXPONENT,
        "sphere": Range(0, 256, whole=True, step=32),
        "sphere_weight": Range(0.1, 5.0, log=True),
        "sphere_epochs": Range(3, 60, log=True, whole=True),
        "sphere_rate": Range(0.02, 0.3, log=True),
        "sphere_temperature": Range(0.05, 0.4, log=True),
        "sphere_power": Range(0.9, 1.6),
        "trend": TREND,
    },
    "ials": {
        "dim": Range(32, 256, log=True, whole=True),
        "reg": Range(0.0001, 0.1, log=True),
        "unobserved": Range(0.01, 1.0, log=True),
        "nu": Range(0.0, 1.0),
    },
    "mf": {
        "dim": Range(64, 512, log=True, whole=True),
        "epochs": Range(3, 80, log=True, whole=True),
        "learning_rate": Range(0.02, 0.3, log=True),
        "temperature": Range(0.05, 0.4, log=True),
        "loss_power": Range(0.9, 1.6),
    },
    "elsa": {
        "dim": Range(64, 512, log=True, whole=True),
        "epochs": Range(1, 20, log=True, whole=True),
        "learning_rate": Range(0.0003, 0.03, log=True),
    },
    "multvae": {
        "dim": Range(128, 512, log=True, whole=True),
        "epochs": Range(10, 80, log=True, whole=True),
        "learning_rate": Range(0.0003, 0.01, log=True),
        "beta": Range(0.02, 1.0, log=True),
    },
    "item2vec": {
        "dim": Range(64, 256, log=True, whole=True),
        "epochs": Range(5, 60, log=True, whole=True),
        "learning_rate": Range(0.001, 0.05, log=True),
        "negative_power": Range(0.0, 1.0),
    },
}
DEEP_BLEND_ITEMS = 20_000  # from here on the deep blend is used; it is worse on electronics with 8,360 items
DEEP_BLEND: Mapping[
    str, int | float
] = {  # with twice the default dimensions; gowalla +6% recall and ndcg over `spectral`
    "sphere": 256,
    "sphere_weight": 2.5,
    "sphere_epochs": 30,
    "sphere_rate": 0.15,
    "sphere_temperature": 0.1,
    "sphere_power": 1.4,
}


def start_params(name: str, default_dim: int) -> dict[str, int | float]:
    """The embedder's defaults, clipped to its ranges; a dimension that depends on the data becomes `default_dim`."""
    embedder: Any = make(name)
    defaults = {field.name: getattr(embedder, field.name) for field in fields(embedder)}
    if name == "blend":
        defaults |= {"wide": embedder.wide_dim(default_dim), "sphere": DEFAULT_SPHERE_DIM}
    return {key: _clip_to_range(bounds, defaults[key], default_dim) for key, bounds in SPACES[name].items()}


def deep_blend_params(default_dim: int) -> dict[str, int | float]:
    """The first blend on catalogues of more than DEEP_BLEND_ITEMS."""
    return {**start_params("blend", 2 * default_dim), **DEEP_BLEND}


def _clip_to_range(bounds: Range, value: float, default_dim: int) -> int | float:
    if value <= 0 and bounds.whole and bounds.low > 0:
        value = default_dim
    elif value <= 0 and bounds.log:
        value = math.sqrt(bounds.low * bounds.high)
    value = min(max(value, bounds.low), bounds.high)
    if bounds.step:
        value = bounds.low + round((value - bounds.low) / bounds.step) * bounds.step
    return int(value) if bounds.whole else float(round(value, 10))
