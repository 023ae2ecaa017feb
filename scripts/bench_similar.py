"""Quality of similar items by embedder, beside item-kNN.

Generated shops have four groups of items; the metric is the share of the 5 most similar items that are in the item's
own group (.25 by chance), as mean over seeds, with the mean and the worst difference to item-kNN. Shops from --data:
recall@20 of a user's next items from one earlier item, on the last tenth of the events, and, if the catalogue has
categories, the share of the 5 most similar items in a category of the item. One row per embedder, one for `auto`, which
chooses on earlier events, and one for item-kNN.

    python scripts/bench_similar.py [--data FOLDER ...] [--sizes 20,40,60,300,600,2400] [--embedder NAME ...] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from bench_weighting import read

from engine.embedders.registry import EMBEDDERS, make
from engine.evaluation import baselines, similar_items
from engine.evaluation.ranking_metrics import Scorer
from engine.evaluation.similar_items import ItemSimilarityScorer
from engine.fitting.fit import fit
from engine.latent_space.space import Embedder
from engine.learning.auto_select import AUTO, AutoSelect
from engine.values import splits
from engine.values.events import Weighting
from engine.values.ids import IdMap
from engine.values.interactions import Interactions

K, GROUPS = 5, 4
WORLDS = ((8.0, 0.75), (5.0, 0.7))  # mean events per user, and their share in the user's own group
ROWS = 512  # items at a time


def main() -> None:
    args = _arguments()
    for row in rows(args):
        print(json.dumps(row) if args.json else "  ".join(f"{n} {v}" for n, v in row.items()), flush=True)


def rows(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for size in args.sizes:
        for events, own in WORLDS:
            yield from generated(size, events, own, args)
    for folder in args.data:
        yield from of_shop(folder, args)


def generated(n_items: int, events: float, own: float, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    about = {"items": n_items, "users": 2 * n_items, "events": events, "own": own}
    shops = [groups(n_items, 2 * n_items, seed, events, own) for seed in range(args.seeds)]
    theirs = np.array([share(baselines.item_knn(shop), group) for shop, group in shops])
    yield about | {"by": "item-kNN", "share@5": round(float(theirs.mean()), 4)}
    for name in args.embedder:
        made = [(embedder(name, shop, seed), shop, group) for seed, (shop, group) in enumerate(shops)]
        ours = np.array([share(ItemSimilarityScorer.of(fit(each, shop)), group) for each, shop, group in made])
        apart = {"beside": round(float((ours - theirs).mean()), 4), "worst": round(float((ours - theirs).min()), 4)}
        chosen = {"chosen": sorted({each.name for each, _, _ in made})} if name == AUTO else {}
        yield about | {"by": name, "share@5": round(float(ours.mean()), 4)} | apart | chosen


def of_shop(folder: Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    events, weighting = read(folder), Weighting()
    split, kinds = splits.by_time_or_random(events, weighting), categories(folder)
    for name in args.embedder:
        chosen = (
            AutoSelect().choose(splits.validation_split(events, weighting)).embedder if name == AUTO else make(name)
        )
        found = similar_items.similar_item_metrics(fit(chosen, split.train), split, kinds)
        if name == args.embedder[0]:
            yield {"data": folder.name, "by": "item-kNN"} | found["item_knn"]
        metrics = {key: value for key, value in found.items() if key != "item_knn"}
        yield {"data": folder.name, "by": name} | metrics | ({"chosen": chosen.name} if name == AUTO else {})


def embedder(name: str, shop: Interactions, seed: int) -> Embedder:
    if name != AUTO:
        return make(name)
    return AutoSelect().choose(splits.at_random(shop, 0.2, seed)).embedder


def share(scorer: Scorer, group: np.ndarray) -> float:
    """The mean share of the K most similar items that are in the item's own group."""
    found = []
    for start in range(0, len(group), ROWS):
        rows = np.arange(start, min(start + ROWS, len(group)))
        one = sp.csr_matrix((np.ones(len(rows), np.float32), rows, np.arange(len(rows) + 1)), (len(rows), len(group)))
        scores = np.array(scorer.scores(one), np.float64)
        scores[np.arange(len(rows)), rows] = -np.inf
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        found.append(group[nearest] == group[rows][:, None])
    return float(np.concatenate(found).mean())


def groups(n_items: int, n_users: int, seed: int, events: float, own: float) -> tuple[Interactions, np.ndarray]:
    """Interactions of users who each prefer one group, with popular items more frequent; and the group of each item."""
    draw = np.random.default_rng((seed, n_items))
    popularity, group = 1 / np.sqrt(1 + draw.permutation(n_items)), np.arange(n_items) % GROUPS
    of_all = np.cumsum(popularity) / popularity.sum()
    parts = [np.where(group == each, popularity, 0) for each in range(GROUPS)]
    of_own = [np.cumsum(part) / part.sum() for part in parts]
    cells = []
    for user in range(n_users):
        liked = of_own[draw.integers(GROUPS)]
        for _ in range(max(2, draw.poisson(events))):
            cells.append((user, int(np.searchsorted(liked if draw.random() < own else of_all, draw.random(), "right"))))
    where = np.array(cells).T
    matrix = sp.csr_matrix((np.ones(where.shape[1], np.float32), tuple(where)), shape=(n_users, n_items))
    matrix.data[:] = 1
    met = np.flatnonzero(matrix.getnnz(axis=0))
    ids = IdMap(f"u{row}" for row in range(n_users)), IdMap(f"i{row}" for row in met.tolist())
    return Interactions(*ids, sp.csr_matrix(matrix[:, met])), group[met]


def categories(folder: Path) -> dict[str, list[str]]:
    """The categories of Complete Journey; Online Retail has none."""
    if not (folder / "products.parquet").exists():
        return {}
    frame = pl.read_parquet(folder / "products.parquet", columns=["product_id", "product_category"]).drop_nulls()
    return {str(item): [kind] for item, kind in frame.iter_rows()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--sizes", type=lambda text: [int(each) for each in text.split(",") if each], metavar="N,N")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--embedder", nargs="*", default=[*EMBEDDERS, AUTO], metavar="NAME")
    parser.add_argument("--json", action="store_true", help="one JSON line per row")
    args = parser.parse_args()
    args.sizes = [20, 40, 60, 300, 600, 2400] if args.sizes is None else args.sizes
    return args


if __name__ == "__main__":
    main()
