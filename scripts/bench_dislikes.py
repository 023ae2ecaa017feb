"""Quality by the weight with which dislikes and returns lower similar items, and the weight that is chosen.

First generated shops: each user likes one of five themes and one of its two styles; every second user has viewed an
item of each style, dislikes one item (of the other style; in the "noise" shops of either style), and buys later. Then
shops from --data, whose returns count as dislikes: UCI Online Retail (events.parquet). The last tenth of the events is
the test part. One row per shop and embedder: the weight chosen on the training part, and by weight the mean of
recall@20 and ndcg@20 of the users with dislikes.

    python scripts/bench_dislikes.py [--data FOLDER ...] [--embedders spectral ials blend] [--json]
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

from engine.embedders.registry import make
from engine.evaluation.dislike_weight import WEIGHTS, learn_dislike_weight, metrics_at_weight, users_with_dislikes
from engine.evaluation.significance import paired_test
from engine.fitting.fit import fit
from engine.values import splits
from engine.values.events import EventColumns, Weighting
from engine.values.interactions import from_events

THEMES, ITEMS, USERS = 5, 12, 600
KINDS = ("view", "purchase", "dislike")


def main() -> None:
    args = _arguments()
    for name, events in shops(args.data):
        for embedder in args.embedders:
            line = {"shop": name, "embedder": embedder} | row(events, embedder)
            print(json.dumps(line) if args.json else "  ".join(f"{n} {v}" for n, v in line.items()), flush=True)


def shops(folders: list[Path]) -> Iterator[tuple[str, EventColumns]]:
    for seed in range(3):
        for informative in (True, False):
            yield f"{'styles' if informative else 'noise'} {seed}", styles(seed, informative)
    for folder in folders:
        yield folder.name, read(folder)


def row(events: EventColumns, embedder: str) -> dict[str, Any]:
    weighting, made = Weighting(), make(embedder)
    started = time.perf_counter()
    everything = from_events(events, weighting, int(events.occurred_us.max()))
    choice = learn_dislike_weight(made, everything, lambda: splits.validation_split(events, weighting))
    seconds = round(time.perf_counter() - started, 2)
    split = splits.by_time_or_random(events, weighting)
    space, users = fit(made, split.train), users_with_dislikes(split)
    each = {weight: metrics_at_weight(space, split, users, weight) for weight in (0.0, *WEIGHTS)}
    return {
        "chosen": choice.weight,
        "seconds_to_choose": seconds,
        "n_users": len(users),
        "of_users": int(np.count_nonzero(np.diff(split.test.indptr))),
        "by_weight": {f"{weight:g}": round(float(found.mean()), 5) for weight, found in each.items()},
        "chosen_against_0": paired_test(each[0.0], each[choice.weight]),
    }


def styles(seed: int, informative: bool) -> EventColumns:
    draw = np.random.default_rng(seed)
    rows: list[tuple[int, int, int, int]] = []  # user, item, kind, moment
    for user in range(USERS):
        theme, style = int(draw.integers(THEMES)), int(draw.integers(2))
        own, other = (
            [(2 * theme + one) * ITEMS + int(n) for n in draw.permutation(ITEMS)] for one in (style, 1 - style)
        )
        had = own[:9] + other[:2] if user % 2 else [own.pop(), other.pop()]
        rows += [(user, item, user % 2, int(draw.integers(500))) for item in had]
        if user % 2 == 0:
            disliked = other.pop() if informative or draw.random() < 0.5 else own.pop()
            rows.append((user, disliked, 2, int(draw.integers(500))))
            rows += [(user, own.pop(), 1, int(draw.integers(500, 1000))) for _ in range(3)]
    users, items, kinds, moments = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    names = (tuple(f"{letter}{n}" for n in range(size)) for letter, size in (("u", USERS), ("i", 2 * THEMES * ITEMS)))
    return EventColumns(*names, KINDS, users, items, kinds.astype(np.int32), np.ones(len(rows), np.float32), moments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--embedders", nargs="+", default=["spectral", "ials", "blend"], metavar="NAME")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
