"""Quality of bought_together, buy_again and trending by a time split, beside the naive form of each.

The data are the purchases of two shops: UCI Online Retail (events.parquet) and Complete Journey
(transactions_sample.parquet). Everything is computed from the events before the asked period. recall@20 is the share
of the wanted items among the first 20, of at most 20, averaged over questions:

    bought_together  one item of a basket of the last four weeks -> the rest of the basket (up to 5 items each)
    buy_again        a user with more than 20 earlier items -> those of them that are bought in the last four weeks
    trending         a user of one of the last eight weeks -> the purchases of that week, by the same list for all

As in an answer, popular items follow a list that is short, in all forms alike; "list alone" is the recall without them.
--choose prints each form and a grid of parameters on the weeks before (three times four; trending: 24); the constants
in engine/behaviour were chosen there, on both shops together.

    python scripts/bench_strategies.py --data FOLDER [FOLDER ...] [--choose] [--strategy buy_again] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from bench_weighting import read

from engine.behaviour.baskets import find_baskets
from engine.behaviour.bought_together import MAX_BASKET, bought_together
from engine.behaviour.buy_again import due_scores
from engine.behaviour.item_lists import ItemLists
from engine.behaviour.repurchase import repurchase_days
from engine.behaviour.trending import RECENT_DAYS, USUAL_DAYS, daily_weights, trend_scores
from engine.evaluation import baselines
from engine.evaluation.baselines import ItemKNN
from engine.values import splits
from engine.values.events import EventColumns, Weighting
from engine.values.ids import IdMap
from engine.values.interactions import DAY_US, Interactions

K = 20
WEEK_US, WEEKS, TREND_WEEKS, TREND_CHOICE_WEEKS = 7 * DAY_US, 4, 8, 24
WEIGHTING = Weighting(kinds={"purchase": 1.0, "return": 0.0}, value="ignore", repeat="binary")
LISTS = {
    "half_life_days": (56.0, 112.0, 224.0, None),
    "shrinkage": (10.0, 30.0, 50.0),
    "lift": (0.0, 0.2, 0.3),
    "discount": (0.75, 0.9),
}
DUE = {"fresh_days": (0.0, 1.0, 2.0, 4.0, 8.0), "given_up": (0.0, 0.5, 1.0)}
TRENDS = {
    "half_lives": ((7.0, 112.0), (10.0, 112.0), (12.0, 112.0), (14.0, 112.0), (14.0, 365.0)),
    "shrinkage": (0.1, 0.5, 2.0),
    "momentum": (0.0, 0.25, 0.5, 1.0),
}

Scores = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
RowsOf = Callable[[int], Rows]
Form = dict[str, Any]


def main() -> None:
    args = _arguments()
    for folder in args.data:
        events = read(folder)
        events = splits.select_events(events, events.kind_codes == 0)
        for strategy in args.strategy or STRATEGIES:
            for line in STRATEGIES[strategy](events, args.choose):
                row = {"data": folder.name, "strategy": strategy} | line
                print(json.dumps(row) if args.json else "  ".join(f"{n} {v}" for n, v in row.items()), flush=True)


def together(events: EventColumns, choose: bool) -> Iterator[Form]:
    parts = [BasketQuestions(*each) for each in _windows(events, choose)]

    def lists(**parameters: float | None) -> Form:
        return _together(parts, [_rows_of(part.lists(**parameters)) for part in parts])

    naive = {"shrinkage": 0.0, "discount": 0.0, "half_life_days": None}
    yield {"form": "bought_together"} | lists()
    yield {"form": "co-occurrence"} | lists(**naive, lift=0.0)
    yield {"form": "lift"} | lists(**naive, lift=1.0)
    yield {"form": "item-kNN"} | _together(parts, [part.knn() for part in parts])
    yield {"form": "popularity"} | _together(parts, [lambda _: np.zeros(0, np.int64) for _ in parts])
    for parameters in _grid(LISTS) if choose else ():
        yield {"form": str(parameters)} | lists(**parameters)


class BasketQuestions:
    """An item of a basket -> the rest of the basket, for the baskets of some weeks."""

    def __init__(self, before: EventColumns, after: EventColumns) -> None:
        self.before = before
        self.popular = _popularity(before)
        self.asked = _questions(after, self.popular > 0)

    def lists(self, **parameters: Any) -> ItemLists:
        now_us = int(self.before.occurred_us.max())
        return bought_together(self.before, WEIGHTING.vocabulary, len(self.popular), now_us=now_us, **parameters)

    def knn(self) -> RowsOf:
        baskets = find_baskets(self.before, WEIGHTING.vocabulary, len(self.popular), MAX_BASKET).matrix
        numbers = IdMap([str(row) for row in range(baskets.shape[0])])
        made = baselines.item_knn(Interactions(numbers, IdMap(self.before.item_ids), baskets))
        similarity = made.similarity.T.tocsr()
        return lambda item: _best(similarity[item])

    def recalls(self, rows_of: RowsOf) -> Iterator[tuple[float, float]]:
        """Of each question, with popular items behind a short list and without."""
        filling = np.argsort(-self.popular, kind="stable")[: 2 * K + 1]
        for item, rest in self.asked:
            alone = rows_of(item)[:K]
            rows = np.r_[alone, filling]
            _, first = np.unique(rows, return_index=True)
            rows = rows[np.sort(first)]
            yield _recall(rows[rows != item], rest), _recall(alone, rest)


def _together(parts: list[BasketQuestions], rows_of: list[RowsOf]) -> Form:
    pairs = [pair for part, each in zip(parts, rows_of, strict=True) for pair in part.recalls(each)]
    shown, alone = (list(each) for each in zip(*pairs, strict=True))
    return _figure(shown) | {"list alone": round(float(np.mean(alone)), 5)}


def buy_again(events: EventColumns, choose: bool) -> Iterator[Form]:
    parts = [OwnItems(*each) for each in _windows(events, choose)]

    def recall(score: Callable[[OwnItems, int, Rows, Rows, Rows], Scores]) -> Form:
        return _figure([each for part in parts for each in part.recalls(score)])

    def due(**parameters: float) -> Callable[[OwnItems, int, Rows, Rows, Rows], Scores]:
        return lambda part, _, items, last, days: due_scores(
            last, days, part.intervals[items], part.now_us, **parameters
        )

    yield {"form": "buy_again"} | recall(due())
    yield {"form": "last bought"} | recall(lambda part, _, items, last, days: last + np.minimum(days, 1e6))
    yield {"form": "most often bought"} | recall(lambda part, _, items, last, days: days + last / 1e17)
    yield {"form": "item-kNN"} | recall(lambda part, user, items, *_: part.knn.scores(part.pairs[user])[0, items])
    yield {"form": "popularity"} | recall(lambda part, _, items, *__: part.popular[items])
    for parameters in _grid(DUE) if choose else ():
        yield {"form": str(parameters)} | recall(due(**parameters))


class OwnItems:
    """A user -> which of the own items are bought in some weeks."""

    def __init__(self, before: EventColumns, after: EventColumns) -> None:
        self.now_us, self.pairs = int(before.occurred_us.max()), _distinct(before)
        self.intervals = repurchase_days(before, WEIGHTING.vocabulary, len(before.item_ids))
        self.popular, self.histories = _popularity(before), _histories(before)
        self.knn: ItemKNN = baselines.item_knn(Interactions(IdMap(before.user_ids), IdMap(before.item_ids), self.pairs))
        self.wanted = {
            user: set(items.tolist()) & set(self.histories[user][0].tolist())
            for user, items in _by_user(after).items()
            if user in self.histories and len(self.histories[user][0]) > K
        }

    def recalls(self, score: Callable[[OwnItems, int, Rows, Rows, Rows], Scores]) -> Iterator[float]:
        for user, wanted in self.wanted.items():
            if wanted:
                items, last, days = self.histories[user]
                scores = score(self, user, items, last, days)
                yield _recall(items[np.lexsort((-self.popular[items], -scores))], wanted)


def trending(events: EventColumns, choose: bool) -> Iterator[Form]:
    end = int(events.occurred_us.max()) - choose * TREND_WEEKS * WEEK_US
    n_weeks = TREND_CHOICE_WEEKS if choose else TREND_WEEKS
    weeks = [_parts(events, end - back * WEEK_US, 1) for back in range(n_weeks)]
    wanted = [list(_by_user(after).values()) for _, after in weeks]
    days = [daily_weights(before, WEIGHTING, int(before.occurred_us.max())) for before, _ in weeks]
    n_items = len(events.item_ids)

    def recall(score: Callable[[int], Scores]) -> Form:
        found = []
        for week, users in enumerate(wanted):
            rows = np.argsort(-score(week), kind="stable")
            known = _popularity(weeks[week][0]) > 0
            asked = [set(items[known[items]].tolist()) for items in users]
            found += [_recall(rows, items) for items in asked if items]
        return _figure(found)

    def trends(half_lives: tuple[float, float] = (RECENT_DAYS, USUAL_DAYS), **parameters: float):
        def score(week: int) -> Scores:
            as_of_us = int(weeks[week][0].occurred_us.max())
            sums = [days[week].item_sums(each, as_of_us, n_items) for each in half_lives]
            return trend_scores(*sums, half_lives, **parameters)

        return score

    def last_week(week: int) -> Scores:
        before = weeks[week][0]
        last = splits.select_events(before, before.occurred_us > before.occurred_us.max() - WEEK_US)
        return _popularity(last) + _popularity(before) / 1e6

    yield {"form": "trending"} | recall(trends())
    yield {"form": "popularity of last week"} | recall(last_week)
    yield {"form": "popularity of all times"} | recall(lambda week: _popularity(weeks[week][0]))
    for parameters in _grid(TRENDS) if choose else ():
        yield {"form": str(parameters)} | recall(trends(**parameters))


STRATEGIES = {"bought_together": together, "buy_again": buy_again, "trending": trending}


def _windows(events: EventColumns, choose: bool) -> Iterator[tuple[EventColumns, EventColumns]]:
    """The events before some weeks, and those of these weeks: the last four, or three times four before them."""
    end = int(events.occurred_us.max())
    return (_parts(events, end - back * WEEKS * WEEK_US, WEEKS) for back in ((1, 2, 3) if choose else (0,)))


def _parts(events: EventColumns, end: int, weeks: int) -> tuple[EventColumns, EventColumns]:
    """The events before the last weeks until `end`, and those of these weeks."""
    start = end - weeks * WEEK_US
    after = (events.occurred_us > start) & (events.occurred_us <= end)
    return splits.select_events(events, events.occurred_us <= start), splits.select_events(events, after)


def _distinct(events: EventColumns) -> sp.csr_matrix:
    shape = (len(events.user_ids), len(events.item_ids))
    matrix = sp.csr_matrix((np.ones(len(events), np.float32), (events.user_rows, events.item_rows)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def _popularity(events: EventColumns) -> Scores:
    """(n_items,): the number of distinct users."""
    return np.bincount(_distinct(events).indices, minlength=len(events.item_ids)).astype(np.float64)


def _by_user(events: EventColumns) -> dict[int, npt.NDArray[np.int64]]:
    matrix = _distinct(events)
    return {int(user): matrix[user].indices.astype(np.int64) for user in np.unique(events.user_rows)}


def _histories(events: EventColumns) -> dict[int, tuple[npt.NDArray[np.int64], ...]]:
    """For each user: items, time of the last purchase, number of days with a purchase."""
    days = events.occurred_us // DAY_US
    order = np.lexsort((events.occurred_us, events.item_rows, events.user_rows))
    users, items, times = events.user_rows[order], events.item_rows[order], events.occurred_us[order]
    pair_ends = np.flatnonzero(np.r_[(users[1:] != users[:-1]) | (items[1:] != items[:-1]), True])
    is_new_day = np.r_[True, (users[1:] != users[:-1]) | (items[1:] != items[:-1]) | (np.diff(days[order]) > 0)]
    n_days = np.diff(np.r_[0, np.cumsum(is_new_day)[pair_ends]])
    of_user = users[pair_ends]
    bounds = np.flatnonzero(np.r_[True, of_user[1:] != of_user[:-1]])
    parts = [np.split(each[pair_ends] if each is not n_days else each, bounds[1:]) for each in (items, times, n_days)]
    return dict(zip(of_user[bounds].tolist(), zip(*parts, strict=True), strict=True))


def _questions(after: EventColumns, known: npt.NDArray[np.bool_]) -> list[tuple[int, set[int]]]:
    draw, asked = np.random.default_rng(0), []
    baskets = find_baskets(after, WEIGHTING.vocabulary, len(known), MAX_BASKET).matrix
    for row in range(baskets.shape[0]):
        items = baskets[row].indices[known[baskets[row].indices]]
        if len(items) > 1:
            for item in draw.choice(items, min(5, len(items)), replace=False):
                asked.append((int(item), set(items.tolist()) - {int(item)}))
    return asked


def _rows_of(lists: ItemLists) -> Callable[[int], npt.NDArray[np.int64]]:
    return lambda item: lists.of(item)[0]


def _best(scores: sp.csr_matrix) -> npt.NDArray[np.int64]:
    return scores.indices[np.argsort(-scores.data, kind="stable")].astype(np.int64)


def _recall(rows: npt.NDArray[np.int64], wanted: set[int]) -> float:
    return len(wanted.intersection(rows[:K].tolist())) / min(K, len(wanted))


def _figure(found: list[float]) -> Form:
    error = float(np.std(found) / np.sqrt(len(found)))
    return {"recall@20": round(float(np.mean(found)), 5), "error": round(error, 5), "n": len(found)}


def _grid(parameters: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    return (dict(zip(parameters, values, strict=True)) for values in product(*parameters.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, nargs="+", metavar="FOLDER")
    parser.add_argument("--strategy", nargs="*", choices=sorted(STRATEGIES), help="all without it")
    parser.add_argument("--choose", action="store_true", help="the weeks before the test, with a grid of parameters")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
