"""What is each way of weighing events worth, and how far above popularity is the best embedder?

The events of two shops: UCI Online Retail (Online Retail's events.parquet) and Complete Journey
(transactions_sample.parquet). Learn from all but the last four weeks, predict what users newly take up in those. A row
per variant of the weighting, each changed alone from `plain` (every event counts once), with the ratio to it; then a
row per embedder beside popularity, recent popularity and item-kNN.

The weighting may be chosen on earlier weeks: --skip-weeks 4 leaves the last four out.

With --predict any what users buy again counts too, and items they had may be recommended; "own history", what a user
bought, is a row of its own then. "popularity of those weeks" counts the very purchases that are predicted: nobody can
know it, and no answer that is the same for all users can have more.

    python scripts/bench_weighting.py --data FOLDER [--embedder ease] [--skip-weeks 4] [--predict any] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from engine.embedders.registry import make
from engine.evaluation import baselines
from engine.evaluation.ranking_metrics import Scorer, SpaceScorer, evaluate_ranking
from engine.fitting.fit import fit
from engine.learning.auto_select import AutoSelect
from engine.values import splits
from engine.values.events import EventColumns, Weighting
from engine.values.splits import Split
from engine.values.vectors import Matrix

WEEK_US, WEEKS = 7 * 86_400_000_000, 4
PLAIN = Weighting(kinds={"purchase": 1.0, "return": 0.0}, value="ignore", repeat="binary")
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "returns take away": {"kinds": {"purchase": 1.0, "return": -1.0}},
    "quantities, log": {"value": "log", "repeat": "log"},
    "quantities, linear": {"value": "linear", "repeat": "log"},
    "repeats, log": {"repeat": "log"},
    "repeats, sum": {"repeat": "sum"},
    "half-life 30 days, log": {"half_life_days": 30.0, "repeat": "log"},
    "half-life 90 days, log": {"half_life_days": 90.0, "repeat": "log"},
    "half-life 180 days, log": {"half_life_days": 180.0, "repeat": "log"},
}
SUPPORTS = (2, 5)  # users that an item must have had, and items a user, to be learnt from


def main() -> None:
    args = _arguments()
    events = read(args.data)
    until = int(events.occurred_us.max()) - args.skip_weeks * WEEK_US
    events = _before(events, until)
    cut = until - WEEKS * WEEK_US
    rows = () if args.predict == "any" else weightings(events, cut, args)
    for row in (*rows, *embedders(events, cut, args)):
        line = {"data": args.data.name} | row
        print(json.dumps(line) if args.json else "  ".join(f"{n} {v}" for n, v in line.items()), flush=True)


def weightings(events: EventColumns, cut: int, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The same test cells for all: what users newly took up, by the plain weighting."""
    plain = splits.by_time(events, PLAIN, until_us=cut)
    base: dict[str, float] = {}
    for name, changed in VARIANTS.items():
        split = splits.by_time(events, replace(PLAIN, **changed), until_us=cut)
        found = _scored(split, _aligned(plain, split), args)
        base = base or found
        yield {"weighting": name} | _beside(found, base)
    for support in SUPPORTS:
        split = _pruned(plain, support)
        yield {"weighting": f"support of {support} or more"} | _beside(_scored(split, split, args), base)


def embedders(events: EventColumns, cut: int, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """By the product's default weighting: auto, which chooses before the cut, and each closed form."""
    weighting = Weighting(predict=args.predict)
    split = splits.by_time(events, weighting, until_us=cut)
    inner = splits.by_time(_before(events, cut), weighting, until_us=cut - WEEKS * WEEK_US)
    choice = AutoSelect().choose(inner)
    recent = split.train.recent_counts()
    assert recent is not None
    scorers: dict[str, Scorer] = {
        "popularity": baselines.popularity(split.train),
        "recent popularity": baselines.Popularity(recent.astype(np.float32)),
        "popularity of those weeks": baselines.Popularity(split.test.getnnz(axis=0).astype(np.float32)),
        "item-kNN": baselines.item_knn(split.train),
    }
    if split.repeats:
        scorers["own history"] = Own()
    for name in ("spectral", "ease", "blend", "ials"):
        scorers[name] = SpaceScorer(fit(make(name), split.train))
    scorers[f"auto: {choice.embedder.name}"] = SpaceScorer(fit(choice.embedder, split.train))
    base: dict[str, float] = {}
    for name, scorer in scorers.items():
        found = _figures(scorer, split)
        base = base or found
        yield {"embedder": name} | _beside(found, base)


class Own:
    """What a user had, the heaviest first."""

    def scores(self, histories: sp.csr_matrix) -> Matrix:
        return np.asarray(histories.toarray(), dtype=np.float32)


def _scored(split: Split, test: Split, args: argparse.Namespace) -> dict[str, float]:
    return _figures(SpaceScorer(fit(make(args.embedder), split.train)), Split(split.train, test.test))


def _figures(scorer: Scorer, split: Split) -> dict[str, float]:
    made = evaluate_ranking(scorer, split.train.matrix, split.test, repeats=split.repeats)
    return {"recall@20": float(made.recall.mean()), "ndcg@20": float(made.ndcg.mean()), "n_users": len(made.users)}


def _beside(found: dict[str, float], base: dict[str, float]) -> dict[str, Any]:
    names = ("recall@20", "ndcg@20")
    ratios = {f"{name}_ratio": round(found[name] / max(base[name], 1e-12), 3) for name in names}
    return {name: round(found[name], 5) for name in names} | ratios | {"n_users": found["n_users"]}


def _aligned(plain: Split, other: Split) -> Split:
    """The test cells of `plain` in the rows and columns of `other`, which may know fewer users and items."""
    cells = plain.test.tocoo()
    users = np.array([-1 if (row := other.train.users.row(id_)) is None else row for id_ in plain.train.users.ids])
    items = np.array([-1 if (row := other.train.items.row(id_)) is None else row for id_ in plain.train.items.ids])
    rows, columns = users[cells.row], items[cells.col]
    known = (rows >= 0) & (columns >= 0)
    matrix = type(plain.test)((cells.data[known], (rows[known], columns[known])), shape=other.train.matrix.shape)
    return Split(other.train, matrix)


def _pruned(split: Split, support: int) -> Split:
    """Cells of rare items and short histories are not learnt from; everybody is scored all the same."""
    matrix = split.train.matrix
    items = np.bincount(matrix.indices, minlength=matrix.shape[1]) >= support
    lengths = np.diff(matrix.indptr)
    kept = items[matrix.indices] & (np.repeat(lengths, lengths) >= support)
    return Split(split.train.select_cells(kept), split.test)


def read(folder: Path) -> EventColumns:
    """The purchases and returns of a shop."""
    if (folder / "events.parquet").exists():
        frame = pl.read_parquet(folder / "events.parquet").filter(pl.col("CustomerID") > 0)
        names = ("CustomerID", "StockCode", "Quantity", "InvoiceDate")
    else:
        frame = pl.read_parquet(folder / "transactions_sample.parquet")
        names = ("household_id", "product_id", "quantity", "transaction_timestamp")
    user, item, quantity, at = names
    frame = frame.select(
        pl.col(user).cast(pl.String).alias("user"),
        pl.col(item).cast(pl.String).alias("item"),
        pl.col(quantity).cast(pl.Float32).alias("quantity"),
        pl.col(at).cast(pl.Datetime("us")).cast(pl.Int64).alias("at"),
    ).drop_nulls()
    users, user_rows = np.unique(frame["user"].to_numpy(), return_inverse=True)
    items, item_rows = np.unique(frame["item"].to_numpy(), return_inverse=True)
    quantities = frame["quantity"].to_numpy()
    return EventColumns(
        tuple(users.tolist()),
        tuple(items.tolist()),
        ("purchase", "return"),
        user_rows.astype(np.int64),
        item_rows.astype(np.int64),
        (quantities < 0).astype(np.int32),
        np.abs(quantities),
        frame["at"].to_numpy(),
    )


def _before(events: EventColumns, until: int) -> EventColumns:
    return splits.select_events(events, events.occurred_us <= until)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--embedder", default="spectral", help="what the weightings are tried with")
    parser.add_argument("--skip-weeks", type=int, default=0, help="leave the last weeks out, to choose on those before")
    parser.add_argument("--predict", choices=("new", "any"), default="new", help="any: also what was bought before")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
