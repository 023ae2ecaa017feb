"""How long until the recall of implicit's ALS is reached, and how fast is `ials` beside implicit's solver?

The folder is one of bench_quality's. In one run and on the same threads: implicit's ALS with its own defaults,
`spectral` and `ials` in as many dimensions, `ials` for as many iterations. Every model is scored once on test by the
product's own evaluation. Seconds are of the fit alone, on the wall; cpu_seconds those of all threads, which other load
on the machine does not stretch. One JSON line for each model.

    pip install --constraint constraints.txt --editable .[bench]
    python scripts/bench_train.py --data FOLDER --dim 256
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_quality import read_test, read_train
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from engine.embedders.ials import IALS
from engine.embedders.spectral import Spectral
from engine.evaluate import SpaceScorer, evaluate
from engine.interactions import Interactions


class ByRow:
    """Scores of users whose vectors are given: implicit's own, since its fold-in differs from its training."""

    def __init__(self, users: Any, items: Any, asked: Any):
        self._users, self._items, self._asked = users, items, iter(asked)

    def scores(self, histories: Any) -> Any:
        rows = [next(self._asked) for _ in range(histories.shape[0])]
        return np.asarray(self._users[rows] @ self._items.T, dtype=np.float32)


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    train = read_train(args.data)
    solver = AlternatingLeastSquares(
        factors=args.dim, iterations=args.iterations, num_threads=args.threads, random_state=0
    )
    ours = {"spectral": Spectral(dim=args.dim), "ials": IALS(dim=args.dim, iterations=args.iterations)}
    lines = []
    with threadpool_limits(args.threads):  # implicit's threads each call BLAS
        with threadpool_limits(1, user_api="blas"):
            fitted = _timed(lambda: solver.fit(train.matrix, show_progress=False))
        test = read_test(args.data, train)
        scorer = ByRow(solver.user_factors, solver.item_factors, np.flatnonzero(np.diff(test.indptr)))
        lines.append({"model": "implicit ALS"} | fitted[1] | _figures(scorer, train, test))
        for name, embedder in ours.items():
            space, times = _timed(lambda embedder=embedder: embedder.fit(train, seed=0, device="cpu"))
            lines.append({"model": name} | times | _figures(SpaceScorer(space), train, test))
    for line in lines:
        share = {"of_implicit": round(line["fit_seconds"] / lines[0]["fit_seconds"], 3)}
        print(json.dumps({"data": args.data.name, "dim": args.dim, "threads": args.threads} | line | share), flush=True)


def _timed(fit: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    started, worked = time.perf_counter(), time.process_time()
    made = fit()
    wall, work = time.perf_counter() - started, time.process_time() - worked
    return made, {"fit_seconds": round(wall, 2), "cpu_seconds": round(work, 2)}


def _figures(scorer: Any, train: Interactions, test: Any) -> dict[str, float]:
    found = evaluate(scorer, train.matrix, test)
    return {"recall@20": round(float(found.recall.mean()), 5), "ndcg@20": round(float(found.ndcg.mean()), 5)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=15, help="of both ALS; implicit's default")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
