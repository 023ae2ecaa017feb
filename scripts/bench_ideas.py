"""Ablations: how much each modelling idea helps, added to or removed from a model on its own.

The folder has train.parquet and perhaps valid.parquet (columns user, item). Scores are on valid.parquet, or on a tenth
of each user's interactions; the test file is not read. Each row is an idea: recall@20 and ndcg@20 without and with it,
and the ratio of with to without.

    python scripts/bench_ideas.py --data FOLDER [--group closed] [--group loss] [--group sum] [--group model] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from bench_quality import read_train, without_valid

from engine.embedders import mf
from engine.embedders.factorisation.normalised_svd import normalised_svd
from engine.embedders.registry import make
from engine.embedders.spectral import Spectral
from engine.evaluation.ranking_metrics import SpaceScorer, evaluate_ranking
from engine.fitting.fit import fit
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import LatentSpace
from engine.values.interactions import Interactions
from engine.values.splits import Split
from engine.values.vectors import Vectors, normalise_rows

Learn = Callable[[Interactions], LatentSpace]


@dataclass(frozen=True)
class Idea:
    name: str
    without: str  # name of a variant, as `with_`
    with_: str


GROUPS: dict[str, tuple[Idea, ...]] = {
    "closed": (
        Idea("exponents .4/.4 instead of .5/.5 of graph filters", "spectral .5/.5/.5", "spectral .4/.4/.4"),
        Idea("exponents of users and items apart", "spectral .4/.4/.4", "spectral .32/.44/.44"),
        Idea("items scaled by less than they were normalised", "spectral .32/.44/.44", "spectral"),
        Idea("a filter f = s", "spectral f=1", "spectral f=s"),
        Idea("a filter f = s^.5", "spectral f=1", "spectral f=s^.5"),
        Idea("ridge filter instead of f = s^.5", "spectral f=s^.5", "spectral"),
        Idea("rank by the number of items instead of 64", "spectral 64", "spectral"),
        Idea("half the rank", "spectral", "spectral half"),
        Idea("twice the rank", "spectral", "spectral twice"),
        Idea("two power iterations with shifts instead of none", "spectral 0 iterations", "spectral"),
        Idea("four of them", "spectral", "spectral 4 iterations"),
    ),
    "loss": (
        Idea("start from the factors", "mf random start", "mf"),
        Idea("BSL power of 1.1 instead of SL", "mf SL", "mf"),
        Idea("BSL power of 1.2", "mf", "mf BSL 1.2"),
        Idea("SL@20", "mf", "mf SL@20"),
        Idea("shared negatives: 4096 instead of 256", "mf 256 negatives", "mf"),
        Idea("temperature of .1 instead of .2", "mf", "mf temperature .1"),
        Idea("thirty passes instead of ten", "mf", "mf 30 passes"),
    ),
    "sum": (
        Idea("EASE in the sum", "spectral", "blend without mf"),
        Idea("mf in the sum", "blend without mf", "blend"),
    ),
    "model": tuple(
        Idea(f"{name} instead of spectral", "spectral", name)
        for name in ("ease", "ials", "mf", "elsa", "multvae", "item2vec")
    ),
}


def main() -> None:
    args = _arguments()
    train = read_train(args.data)
    split, found = without_valid(args.data, train), dict[str, dict[str, float]]()
    variants = _variants(split.train)

    def figures(name: str) -> dict[str, float]:
        if name not in found:
            found[name] = measured(variants[name], split)
        return found[name]

    for group in args.group or GROUPS:
        for idea in GROUPS[group]:
            row = {"data": args.data.name, "group": group, "idea": idea.name} | _beside(
                figures(idea.without), figures(idea.with_)
            )
            print(json.dumps(row) if args.json else "  ".join(f"{n} {v}" for n, v in row.items()), flush=True)


def _variants(train: Interactions) -> dict[str, Learn]:
    """The function that fits each variant."""
    default_dim = fit(make("spectral"), train).dim

    def made(embedder: str, **params: Any) -> Learn:
        return lambda on: fit(make(embedder, params), on)

    def exponents(user: float, item: float, out: float) -> Learn:
        return made("spectral", user_exponent=user, item_exponent=item, out_exponent=out)

    def random_start(on: Interactions) -> LatentSpace:
        with patch.object(mf, "initial_item_vectors", _random_rows):
            return fit(make("mf"), on)

    return {name: made(name) for name in ("spectral", "ease", "ials", "mf", "elsa", "multvae", "item2vec", "blend")} | {
        "spectral .5/.5/.5": exponents(0.5, 0.5, 0.5),
        "spectral .4/.4/.4": exponents(0.4, 0.4, 0.4),
        "spectral .32/.44/.44": exponents(Spectral.user_exponent, Spectral.item_exponent, Spectral.item_exponent),
        "spectral f=1": lambda on: filtered(on, default_dim, 0.0),
        "spectral f=s^.5": lambda on: filtered(on, default_dim, 0.5),
        "spectral f=s": lambda on: filtered(on, default_dim, 1.0),
        "spectral 64": made("spectral", dim=64),
        "spectral half": made("spectral", dim=default_dim // 2),
        "spectral twice": made("spectral", dim=default_dim * 2),
        "spectral 0 iterations": made("spectral", iterations=0),
        "spectral 4 iterations": made("spectral", iterations=4),
        "mf random start": random_start,
        "mf SL": made("mf", loss_power=1.0),
        "mf BSL 1.2": made("mf", loss_power=1.2),
        "mf SL@20": made("mf", top_k=20),
        "mf 256 negatives": made("mf", negatives=256),
        "mf temperature .1": made("mf", temperature=0.1),
        "mf 30 passes": made("mf", epochs=30),
        "blend without mf": made("blend", sphere=0),
    }


def filtered(on: Interactions, dim: int, power: float) -> LatentSpace:
    """The default `spectral` with the filter s^power in place of the ridge filter."""
    space = fit(make("spectral", {"dim": dim}), on)
    values = normalised_svd(
        on.matrix, dim, user_exponent=Spectral.user_exponent, item_exponent=Spectral.item_exponent, seed=0,
        device=torch.device("cpu"),
    ).eigenvalues  # fmt: skip
    assert isinstance(space.fold_in, LinearFoldIn)
    fold_in = replace(space.fold_in, dim_scale=(values ** (power / 2)).astype(np.float32))  # eigenvalues are squares
    return replace(space, users=Vectors(on.users, fold_in.vectors(on.matrix)), fold_in=fold_in)


def _random_rows(matrix: Any, dim: int, *, exponent: float, seed: int, device: torch.device) -> Any:
    return normalise_rows(np.random.default_rng(seed).standard_normal((matrix.shape[1], dim)).astype(np.float32))


def measured(learn: Learn, split: Split) -> dict[str, float]:
    started = time.perf_counter()
    space = learn(split.train)
    seconds = time.perf_counter() - started
    made = evaluate_ranking(SpaceScorer(space), split.train.matrix, split.test)
    return {"recall": float(made.recall.mean()), "ndcg": float(made.ndcg.mean()), "seconds": seconds}


def _beside(without: dict[str, float], with_: dict[str, float]) -> dict[str, float]:
    row: dict[str, float] = {}
    for name in ("recall", "ndcg"):
        row |= {f"{name}@20 without": round(without[name], 4), f"{name}@20 with": round(with_[name], 4)}
        row[f"{name} ratio"] = round(with_[name] / without[name], 3)
    return row | {"seconds with": round(with_["seconds"], 1)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--group", action="append", choices=GROUPS, help="repeatable; all groups by default")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
