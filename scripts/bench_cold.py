"""Ranking quality of items that nobody has bought yet, by vectors predicted from their catalogue fields.

A tenth of the items with at least five users is hidden from the model. The item encoder learns from the others and
predicts vectors of the hidden items; the test is whether their users find them. `among_cold` is recall@20 when only
hidden items are ranked, beside 20 random ones. `among_all` is recall@20 when all items that the user has not had are
ranked; without vectors it is zero. Catalogue fields are the title and the usual price (Online Retail) or department,
brand, category, type and size (Complete Journey).

    python scripts/bench_cold.py --data FOLDER [--embedder spectral] [--seeds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from bench_weighting import read

from engine.catalogue.predicate import ItemFields, item_fields
from engine.embedders.registry import make
from engine.fitting.fit import fit
from engine.latent_space.item_encoder import learn
from engine.values.events import Weighting
from engine.values.ids import IdMap
from engine.values.interactions import Interactions, from_events
from engine.values.vectors import Matrix

K, HIDDEN, FEWEST_USERS = 20, 0.1, 5
FIELDS = ("department", "brand", "product_category", "product_type", "package_size")


def main() -> None:
    args = _arguments()
    events = read(args.data)
    everything = from_events(events, Weighting(), int(events.occurred_us.max()))
    told = _facts(args.data)
    for seed in range(args.seeds):
        line = {"data": args.data.name, "embedder": args.embedder, "seed": seed} | measure(everything, told, args, seed)
        print(json.dumps(line) if args.json else "  ".join(f"{n} {v}" for n, v in line.items()), flush=True)


def measure(
    everything: Interactions, told: dict[str, ItemFields], args: argparse.Namespace, seed: int
) -> dict[str, Any]:
    often = np.flatnonzero((everything.item_counts() >= FEWEST_USERS) & [id_ in told for id_ in everything.items.ids])
    hidden = np.sort(np.random.default_rng(seed).choice(often, int(HIDDEN * len(often)), replace=False))
    known = np.setdiff1d(np.arange(len(everything.items)), hidden)
    matrix = sp.csr_matrix(everything.matrix[:, known])
    users = np.flatnonzero(np.diff(matrix.indptr))
    ids = everything.items.ids
    train = Interactions(
        IdMap(everything.users.ids[row] for row in users.tolist()), IdMap(ids[row] for row in known.tolist()),
        sp.csr_matrix(matrix[users]),
    )  # fmt: skip
    space = fit(make(args.embedder), train, seed=seed)
    items = space.items.matrix
    encoder = learn([told.get(ids[row], {}) for row in known.tolist()], items)
    wanted = sp.csr_matrix(everything.matrix[users][:, hidden])
    if encoder is None:
        return {"explained": 0.0, "note": "what is said of the items tells nothing of their vectors"}
    cold = encoder.encode([told[ids[row]] for row in hidden.tolist()])
    return {
        "hidden": len(hidden),
        "explained": round(encoder.explained, 3),
        "among_cold": round(_recall(space.users.matrix, cold, wanted), 4),
        "at_random": round(min(1.0, K / len(hidden)), 4),
        "among_all": round(_recall(space.users.matrix, np.concatenate([cold, items]), wanted, train.matrix), 4),
    }


def _recall(users: Matrix, items: Matrix, wanted: sp.csr_matrix, had: sp.csr_matrix | None = None) -> float:
    """recall@20 of `wanted`, (n_users, n_cold), whose items are the first rows of `items`; `had` are the others."""
    found = []
    for row in np.flatnonzero(np.diff(wanted.indptr)).tolist():
        scores = items @ users[row]
        if had is not None:
            scores[wanted.shape[1] + had[row].indices] = -np.inf
        best = np.argpartition(-scores, min(K, len(scores) - 1))[:K]
        cells = wanted[row].indices
        found.append(np.isin(cells, best).sum() / min(K, len(cells)))
    return float(np.mean(found))


def _facts(folder: Path) -> dict[str, ItemFields]:
    """What the catalogue says of each item, by id."""
    core = {"title": None, "categories": [], "available": True, "created_at": None, "updated_at": None}
    if (folder / "events.parquet").exists():
        frame = pl.read_parquet(folder / "events.parquet").group_by(pl.col("StockCode").cast(pl.String).alias("item"))
        rows = frame.agg(pl.col("Description").drop_nulls().mode().first(), pl.col("UnitPrice").median()).iter_rows()
        return {id_: item_fields(core | {"title": title}, {"price": price}) for id_, title, price in rows}
    frame = pl.read_parquet(folder / "products.parquet")
    return {
        row["product_id"]: item_fields(
            core | {"item_id": row["product_id"]}, {name: row[name] for name in FIELDS if row[name]}
        )
        for row in frame.iter_rows(named=True)
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--embedder", default="spectral")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON line for each seed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
