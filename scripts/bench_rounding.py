"""Effect of the score floor, which is meant for rounding errors, on the shelves of real shops.

Makes a shelf of 20 for every user, without the items of the history, and 20 similar items for every item, by models of
UCI Online Retail (events.parquet), Complete Journey (transactions_sample.parquet) or Gowalla (LightGCN split). Reports
the share of shelves that the floor shortens, the ratio of the last score of a shelf to the floor (minimum and median),
and the share of items whose scores are all below the floor.

    python scripts/bench_rounding.py --data FOLDER [FOLDER ...] [--embedder spectral ease] [--json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from bench_quality import read_train
from bench_weighting import read

from engine.embedders.registry import make
from engine.fitting.fit import fit
from engine.fitting.uninformative_items import isolated_items
from engine.latent_space.score_floor import longest_length, score_floors
from engine.latent_space.space import LatentSpace
from engine.values.events import Weighting
from engine.values.interactions import Interactions, from_events
from engine.values.vectors import Matrix, normalise_rows

K, BATCH_FLOATS = 20, 2**24


def main() -> None:
    args = _arguments()
    for folder in args.data:
        interactions = interactions_of(folder)
        for name in args.embedder:
            line = {"data": folder.name, "embedder": name} | figures(interactions, name)
            print(json.dumps(line) if args.json else "  ".join(f"{n} {v}" for n, v in line.items()), flush=True)


def interactions_of(folder: Path) -> Interactions:
    if (folder / "item_list.parquet").exists():
        return read_train(folder)
    events = read(folder)
    return from_events(events, Weighting(), int(events.occurred_us.max()))


def figures(interactions: Interactions, name: str) -> dict[str, Any]:
    space = fit(make(name), interactions)
    items = normalise_rows(space.items.matrix)
    nobody = sp.csr_matrix((len(items), len(items)), dtype=np.float32)
    silent = ~space.items.matrix.any(axis=1)
    itself = sp.csr_matrix(nobody + sp.eye(len(items), dtype=np.float32, format="csr"))
    return (
        {"dim": space.dim, "silent": int(silent.sum()), "alone": int(isolated_items(interactions.matrix).sum())}
        | {f"shelves {key}": value for key, value in _cut(space, interactions.matrix).items()}
        | {f"similar {key}": value for key, value in _cut_of(items, items, "cosine", itself).items()}
    )


def _cut(space: LatentSpace, seen: sp.csr_matrix) -> dict[str, Any]:
    items = normalise_rows(space.items.matrix) if space.metric == "cosine" else space.items.matrix
    users = normalise_rows(space.users.matrix) if space.metric == "cosine" else space.users.matrix
    return _cut_of(users, items, space.metric, seen)


def _cut_of(queries: Matrix, items: Matrix, metric: Any, seen: sp.csr_matrix) -> dict[str, Any]:
    known = np.flatnonzero(queries.any(axis=1))
    longest, size, ratios = longest_length(items), max(1, BATCH_FLOATS // len(items)), list[npt.NDArray[np.float64]]()
    cut = 0
    for start in range(0, len(known), size):
        rows = known[start : start + size]
        scores = queries[rows] @ items.T
        had = seen[rows]
        scores[np.repeat(np.arange(len(rows)), np.diff(had.indptr)), had.indices] = -np.inf
        top = -np.sort(-np.partition(scores, -K, axis=1)[:, -K:], axis=1)
        floor = score_floors(queries[rows], metric, longest)
        cut += int((np.abs(top) <= floor[:, None]).any(axis=1).sum())
        ratios.append(top[:, -1] / floor)
    last = np.concatenate(ratios)
    return {
        "n": len(known),
        "cut": round(cut / max(1, len(known)), 6),
        "last score in floors, least": float(f"{last.min():.3g}"),
        "median": float(f"{np.median(last):.3g}"),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, nargs="+", metavar="FOLDER")
    parser.add_argument("--embedder", nargs="+", default=["spectral", "ease", "blend", "ials"])
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
