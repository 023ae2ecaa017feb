"""Quality of each way of weighting events, and of each embedder beside the baselines.

The data are the events of two shops: UCI Online Retail (events.parquet) and Complete Journey
(transactions_sample.parquet). Models are fitted on all but the last four weeks and predict the new items of users in
those weeks. One row per variant of the weighting, each with one change from `plain` (every event counts once) and the
ratio to it; then one row per embedder beside popularity, recent popularity and item-kNN.

To choose a weighting on earlier weeks, --skip-weeks 4 leaves the last four out.

With --predict any, repeat purchases count and items of the history may be recommended; "own history" is then another
baseline. "popularity of those weeks" counts the predicted purchases themselves: it is the upper bound of every list
that is equal for all users.

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
SUPPORTS = (2, 5)  # minimum users per item and items per user in the training part


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
    """One row per weighting, all on the same test part: the new items of users by the plain weighting."""
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
    """One row per embedder with the default weighting; auto chooses on events before the cut."""
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
    """The items of the history, highest weight first."""

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
    """The test part of `plain` in the rows and columns of `other`, which may have fewer users and items."""
    cells = plain.test.tocoo()
    users = np.array([-1 if (row := other.train.users.row(id_)) is None else row for id_ in plain.train.users.ids])
    items = np.array([-1 if (row := other.train.items.row(id_)) is None else row for id_ in plain.train.items.ids])
    rows, columns = users[cells.row], items[cells.col]
    known = (rows >= 0) & (columns >= 0)
    matrix = type(plain.test)((cells.data[known], (rows[known], columns[known])), shape=other.train.matrix.shape)
    return Split(other.train, matrix)


def _pruned(split: Split, support: int) -> Split:
    """The split without rare items and short histories in its training part; the test part is unchanged."""
    matrix = split.train.matrix
    items = np.bincount(matrix.indices, minlength=matrix.shape[1]) >= support
    lengths = np.diff(matrix.indptr)
    kept = items[matrix.indices] & (np.repeat(lengths, lengths) >= support)
    return Split(split.train.select_cells(kept), split.test)


def read(folder: Path) -> EventColumns:
    """The purchases and returns of a shop; `baskets` are numbers of its orders."""
    if (folder / "events.parquet").exists():
        frame = pl.read_parquet(folder / "events.parquet").filter(pl.col("CustomerID") > 0)
        names = ("CustomerID", "StockCode", "Quantity", "InvoiceDate", "InvoiceNo")
    else:
        frame = pl.read_parquet(folder / "transactions_sample.parquet")
        names = ("household_id", "product_id", "quantity", "transaction_timestamp", "basket_id")
    user, item, quantity, at, order = names
    frame = frame.select(
        pl.col(user).cast(pl.String).alias("user"),
        pl.col(item).cast(pl.String).alias("item"),
        pl.col(quantity).cast(pl.Float32).alias("quantity"),
        pl.col(at).cast(pl.Datetime("us")).cast(pl.Int64).alias("at"),
        pl.col(order).cast(pl.String).alias("order"),
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
        np.unique(frame["order"].to_numpy(), return_inverse=True)[1].astype(np.int64) + 1,
    )


def _before(events: EventColumns, until: int) -> EventColumns:
    return splits.select_events(events, events.occurred_us <= until)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--embedder", default="spectral", help="the embedder for the weightings")
    parser.add_argument("--skip-weeks", type=int, default=0, help="leave the last weeks out, to choose on earlier ones")
    parser.add_argument("--predict", choices=("new", "any"), default="new", help="any: repeat purchases count too")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
