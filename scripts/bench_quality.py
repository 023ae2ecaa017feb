"""Recommendation quality of an embedder on a public split, and the time to fit it.

The folder has train.parquet, test.parquet and perhaps valid.parquet, a part of train, with int columns user and item.
The output is one JSON line; the product's own selection, fit, fold-in and evaluation are used. The test file is read
once, at the end, and not at all with --valid. --tune, --budget and auto choose on valid.parquet, or on a tenth of each
user's training interactions, and fit again on all of train. strong_recall@20: 10% of the users are held out of the fit,
80% of each history is folded in, 20% is scored.

    python scripts/bench_quality.py --data FOLDER --embedder spectral --set dim=256 --valid --json
    python scripts/bench_quality.py --data FOLDER --embedder auto [--tune MINUTES | --budget MINUTES] --json
    torchrun --nproc-per-node 2 scripts/bench_quality.py ...    # data-parallel, for models that learn in passes
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from engine.embedders.training import data_parallel
from engine.embedders.training.peak_memory import peak_mb
from engine.errors import InputError, NearfieldError
from engine.evaluation.evaluate_embedder import K, strong_generalisation
from engine.evaluation.ranking_metrics import SpaceScorer, evaluate_ranking
from engine.fitting.fit import fit
from engine.latent_space.space import Embedder, LatentSpace
from engine.learning.auto_select import AUTO, embedder_or_chooser
from engine.learning.time_budget import TimeBudget
from engine.learning.trials import Choice
from engine.learning.tune import DEFAULT_EMBEDDERS, Tune
from engine.progress import Progress, no_progress
from engine.values import splits
from engine.values.ids import IdMap
from engine.values.interactions import Interactions

VALID_SHARE, SPLIT_SEED = 0.1, 20


def main() -> None:
    args = _arguments()
    try:
        figures = data_parallel.run_with_followers(lambda: measure(args))
    except NearfieldError as error:
        raise SystemExit(f"bench_quality: {error}") from None
    if figures is None:
        return  # only rank 0 prints
    if args.json:
        print(json.dumps(figures), flush=True)
    else:
        print("\n".join(f"{name:>16}  {value}" for name, value in figures.items()), flush=True)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All metrics of one run: choose, fit, evaluate, and strong generalisation unless --weak."""
    train = read_train(args.data)
    split = without_valid(args.data, train) if args.valid else None
    train = split.train if split else train
    started = time.perf_counter()
    choice = _chosen(args, train)
    choose_seconds, embedder = time.perf_counter() - started, choice.embedder
    space, fit_seconds, epochs = _fit(embedder, train, args)
    peak = peak_mb(args.device)
    # the test file is opened after the model is finished
    found = evaluate_ranking(SpaceScorer(space), train.matrix, split.test if split else read_test(args.data, train))
    strong = None if args.valid or args.weak else _strong(embedder, train, args)
    params: dict[str, Any] = asdict(embedder) if is_dataclass(embedder) and not isinstance(embedder, type) else {}
    return {
        "data": args.data.name,
        "on": "valid" if args.valid else "test",
        "embedder": embedder.name,
        "dim": space.dim,
        "metric": space.metric,
        "params": params | {"seed": args.seed},
        "trials": len(choice.trials),
        "reason": choice.reason,
        "recall@20": round(float(found.recall.mean()), 5),
        "ndcg@20": round(float(found.ndcg.mean()), 5),
        "coverage@20": round(found.coverage, 5),
        "strong_recall@20": strong,
        "choose_seconds": round(choose_seconds, 2),
        "fit_seconds": round(fit_seconds, 2),
        "epoch_seconds": round(float(np.median(epochs)), 3) if epochs else None,
        "peak_mb": peak,
        "device": args.device,
    }


def _chosen(args: argparse.Namespace, train: Interactions) -> Choice:
    """The requested embedder, or the choice of its chooser on a part of `train`."""
    given = dict(pair.split("=", 1) for pair in args.set)
    searched = args.tune is not None or args.budget is not None
    if searched and given:
        raise InputError("--tune and --budget choose the parameters; remove --set")
    if args.budget is not None and args.embedder != AUTO:
        raise InputError(f"--budget chooses the embedder; expected --embedder auto, got {args.embedder}")
    made: Any = embedder_or_chooser(args.embedder, given)
    if args.budget is not None:
        made = TimeBudget(60 * args.budget)
    elif args.tune is not None:
        made = Tune(60 * args.tune, DEFAULT_EMBEDDERS if args.embedder == AUTO else (args.embedder,))
    if not hasattr(made, "choose"):
        return Choice(made, "", ())
    # with --valid the final score is on valid.parquet, so the choice is made on other interactions
    inner = splits.at_random(train, VALID_SHARE, SPLIT_SEED) if args.valid else without_valid(args.data, train)

    with data_parallel.rank_0_only():
        choice: Choice = made.choose(inner, seed=args.seed, device=args.device, progress=_progress(args))
    return choice


def _progress(args: argparse.Namespace) -> Progress:
    return (lambda what, share: print(f"{share:5.0%} {what}", flush=True)) if args.verbose else no_progress


def _fit(embedder: Embedder, train: Interactions, args: argparse.Namespace) -> tuple[LatentSpace, float, list[float]]:
    """The space, the seconds of the fit, and the seconds of every epoch, if there are epochs."""
    epochs: list[float] = []

    def report(epoch: int, loss: float, seconds: float) -> None:
        epochs.append(seconds)
        if args.verbose:
            print(f"epoch {epoch}: loss {loss:.4f}, {seconds:.2f} s", flush=True)

    started = time.perf_counter()
    space = fit(embedder, train, seed=args.seed, device=args.device, report=report)
    return space, time.perf_counter() - started, epochs


def _strong(embedder: Embedder, train: Interactions, args: argparse.Namespace) -> float | None:
    """recall@20 of users held out of the fit, from 80% of their history."""
    found = strong_generalisation(embedder, train, seed=args.seed, device=args.device)
    return None if found is None else round(float(found[f"recall@{K}"]), 5)


def read_train(folder: Path) -> Interactions:
    """All of train.parquet."""
    cells = pl.read_parquet(folder / "train.parquet")
    shape = (int(str(cells["user"].max())) + 1, int(str(cells["item"].max())) + 1)
    users, items = (IdMap(str(row) for row in range(n)) for n in shape)
    return Interactions(users, items, _matrix(cells, shape))


def without_valid(folder: Path, train: Interactions) -> splits.Split:
    """Split valid.parquet off train, or a tenth of each user's interactions without that file."""
    if not (folder / "valid.parquet").exists():
        return splits.at_random(train, VALID_SHARE, SPLIT_SEED)
    held = _matrix(pl.read_parquet(folder / "valid.parquet"), train.matrix.shape)
    left = sp.csr_matrix(train.matrix - train.matrix.multiply(held))
    left.eliminate_zeros()
    return splits.Split(Interactions(train.users, train.items, left), held)


def read_test(folder: Path, train: Interactions) -> sp.csr_matrix:
    """The test interactions of users and items that are in train."""
    cells, shape = pl.read_parquet(folder / "test.parquet"), train.matrix.shape
    return _matrix(cells.filter((pl.col("user") < shape[0]) & (pl.col("item") < shape[1])), shape)


def _matrix(cells: pl.DataFrame, shape: tuple[int, int]) -> sp.csr_matrix:
    where = (cells["user"].to_numpy(), cells["item"].to_numpy())
    matrix = sp.csr_matrix((np.ones(len(cells), np.float32), where), shape=shape)
    matrix.data[:] = 1  # duplicate pairs count once
    matrix.sort_indices()
    return matrix


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--embedder", required=True, metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="k=v", help="a parameter of the embedder")
    parser.add_argument("--valid", action="store_true", help="fit on train without valid, score on valid")
    parser.add_argument("--tune", type=float, metavar="MINUTES", help="search parameters; with auto the embedder too")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="choose and fit an embedder in this time")
    parser.add_argument("--weak", action="store_true", help="skip strong_recall@20, which needs a second fit")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print a line for every epoch")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    args = parser.parse_args()
    if args.tune is not None and args.budget is not None:
        parser.error("expected --tune or --budget, not both")
    return args


if __name__ == "__main__":
    main()
