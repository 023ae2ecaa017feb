"""Quality of popularity by half-life, and of the half-life that the product chooses.

The data are the events of two shops: UCI Online Retail (events.parquet) and Complete Journey
(transactions_sample.parquet). The last tenth of the events is the test part, as in every evaluation. One row for
distinct users of all times, one for those of the last 28 days, one per half-life, and one for the half-life that is
chosen on the training part, which is the popularity that is served.

    python scripts/bench_popularity.py --data FOLDER [FOLDER ...] [--predict any] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bench_weighting import read

from engine.behaviour.popularity import pair_weights, rank_by_popularity
from engine.evaluation import baselines, popularity_half_life
from engine.evaluation.ranking_metrics import Scorer, evaluate_ranking
from engine.values import splits
from engine.values.events import Weighting
from engine.values.splits import Split


def main() -> None:
    args = _arguments()
    for folder in args.data:
        split = splits.by_time_or_random(read(folder), Weighting(predict=args.predict))
        for row in rows(split):
            line = {"data": folder.name} | row
            print(json.dumps(line) if args.json else "  ".join(f"{n} {v}" for n, v in line.items()), flush=True)


def rows(split: Split) -> Iterator[dict[str, Any]]:
    assert split.events is not None
    recent, names = split.train.recent_counts(), split.events.item_ids
    assert recent is not None
    yield {"popularity": "distinct users"} | _figures(baselines.popularity(split.train), split)
    yield {"popularity": "distinct users of 28 days"} | _figures(baselines.Popularity(recent.astype(np.float32)), split)
    cells = pair_weights(split.events, split.weighting)
    columns = [names.index(id_) for id_ in split.train.items.ids]
    for days in popularity_half_life.HALF_LIVES:
        sums = cells.item_sums(days, int(split.events.occurred_us.max()), len(names))[columns]
        yield {"half_life_days": days} | _figures(baselines.Popularity(rank_by_popularity(sums).shares), split)
    started = time.perf_counter()
    sums, choice = popularity_half_life.popularity_of_training_part(split)
    seconds = round(time.perf_counter() - started, 2)
    found = _figures(baselines.Popularity(rank_by_popularity(sums).shares), split)
    yield {"popularity": "served", **choice.to_json()} | found | {"seconds_to_choose": seconds}


def _figures(scorer: Scorer, split: Split) -> dict[str, Any]:
    made = evaluate_ranking(scorer, split.train.matrix, split.test, repeats=split.repeats)
    figures = {"recall@20": round(float(made.recall.mean()), 5), "ndcg@20": round(float(made.ndcg.mean()), 5)}
    return figures | {"n_users": len(made.users)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, nargs="+", metavar="FOLDER")
    parser.add_argument("--predict", choices=("new", "any"), default="new", help="any: repeat purchases count too")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
