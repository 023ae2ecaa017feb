"""Time until the recall of implicit's ALS is reached, and the speed of `ials` beside implicit's solver.

The folder is one of bench_quality's. One run fits, on the same threads: implicit's ALS with its own defaults except
--alpha, `ials` with as many dimensions and iterations, and `spectral` with the dimensions of --spectral (and power
iterations after the colon). Every model is scored once on test by the product's own evaluation. fit_seconds is the wall
time of the fit alone; cpu_seconds is the CPU time of all threads, which other load on the machine does not change.
numba compiles before, once per machine; compile_seconds is in the line of `ials`. The output is one JSON line per
model, and a last line with our fastest model whose recall is at least implicit's (or --reach).

    pip install --constraint constraints.txt --editable .[bench]
    python scripts/bench_train.py --data FOLDER --dim 256 [--alpha 10] [--spectral 256:1 320:1]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from bench_quality import read_test, read_train
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from engine.embedders.ials import IALS
from engine.embedders.spectral import Spectral
from engine.evaluation.ranking_metrics import SpaceScorer, evaluate_ranking
from engine.values.ids import IdMap
from engine.values.interactions import Interactions


class ByRow:
    """Scores by implicit's trained user vectors, because its fold-in differs from its training."""

    def __init__(self, users: Any, items: Any, user_rows: Any):
        self._users, self._items, self._rows = users, items, iter(user_rows)

    def scores(self, histories: Any) -> Any:
        rows = [next(self._rows) for _ in range(histories.shape[0])]
        return np.asarray(self._users[rows] @ self._items.T, dtype=np.float32)


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    train = read_train(args.data)
    solver = AlternatingLeastSquares(
        factors=args.dim, alpha=args.alpha, iterations=args.iterations, num_threads=args.threads, random_state=0
    )
    compiled = {"compile_seconds": _timed(lambda: IALS(dim=args.dim, iterations=1).fit(_tiny()))[1]["fit_seconds"]}
    lines: list[dict[str, Any]] = []
    shared = {"data": args.data.name, "threads": args.threads}

    def emit(line: dict[str, Any]) -> None:
        lines.append(line)
        print(json.dumps(shared | line | _of_first(line, lines)), flush=True)

    with threadpool_limits(args.threads):  # each thread of implicit calls BLAS
        with threadpool_limits(1, user_api="blas"):
            fitted = _timed(lambda: solver.fit(train.matrix, show_progress=False))
        test = read_test(args.data, train)
        scorer = ByRow(solver.user_factors, solver.item_factors, np.flatnonzero(np.diff(test.indptr)))
        emit({"model": "implicit ALS", "dim": args.dim} | fitted[1] | _figures(scorer, train, test))
        for embedder in _ours(args):
            space, times = _timed(lambda embedder=embedder: embedder.fit(train, seed=0, device="cpu"))
            about = {"model": embedder.name, "dim": embedder.dim, "iterations": embedder.iterations}
            extra = compiled if embedder.name == "ials" else {}
            emit(about | times | extra | _figures(SpaceScorer(space), train, test))
    print(json.dumps(shared | _quickest(lines, args.reach or lines[0]["recall@20"])), flush=True)


def _ours(args: argparse.Namespace) -> list[Spectral | IALS]:
    chosen = args.spectral or [str(args.dim)]
    pairs = [tuple(int(part) for part in each.split(":")) for each in chosen]
    spectral = [Spectral(dim=dim, iterations=rest[0]) if rest else Spectral(dim=dim) for dim, *rest in pairs]
    return [*spectral, IALS(dim=args.dim, iterations=args.iterations)]


def _tiny() -> Interactions:
    one = IdMap(["a"])
    return Interactions(one, one, sp.csr_matrix(np.ones((1, 1), np.float32)))


def _of_first(line: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, float]:
    """Ratios to implicit's wall and CPU seconds."""
    return {
        f"{name}of_implicit": round(line[f"{key}_seconds"] / lines[0][f"{key}_seconds"], 3)
        for name, key in (("", "fit"), ("cpu_", "cpu"))
    }


def _quickest(lines: list[dict[str, Any]], recall: float) -> dict[str, Any]:
    """Our fastest model that reaches the recall."""
    reached = [line for line in lines[1:] if line["recall@20"] >= recall]
    target = {"reach": recall}
    if not reached:
        return target | {"model": None}
    first = min(reached, key=lambda line: float(line["fit_seconds"]))
    keys = ("model", "dim", "iterations", "recall@20", "fit_seconds", "cpu_seconds")
    return target | {key: first[key] for key in keys} | _of_first(first, lines)


def _timed(fit: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    started, worked = time.perf_counter(), time.process_time()
    made = fit()
    wall, work = time.perf_counter() - started, time.process_time() - worked
    return made, {"fit_seconds": round(wall, 2), "cpu_seconds": round(work, 2)}


def _figures(scorer: Any, train: Interactions, test: Any) -> dict[str, float]:
    found = evaluate_ranking(scorer, train.matrix, test)
    return {"recall@20": round(float(found.recall.mean()), 5), "ndcg@20": round(float(found.ndcg.mean()), 5)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--dim", type=int, default=256, help="dimensions of both ALS models")
    parser.add_argument("--alpha", type=float, default=1.0, help="of implicit; 1 is its default, 10 is best on gowalla")
    parser.add_argument("--spectral", nargs="*", metavar="DIM[:ITERATIONS]", help="one model each; default: --dim")
    parser.add_argument(
        "--reach", type=float, metavar="RECALL", help="target recall of the last line; default: implicit's in this run"
    )
    parser.add_argument("--iterations", type=int, default=15, help="of both ALS models; 15 is implicit's default")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
