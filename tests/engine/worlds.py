"""Tiny worlds with an obvious answer."""

import numpy as np
import scipy.sparse as sp

from engine.values.events import EventColumns
from engine.values.ids import IdMap
from engine.values.interactions import Interactions

DAY_US = 86_400_000_000


def names(letter: str, n: int) -> IdMap:
    return IdMap(f"{letter}{row}" for row in range(n))


def interactions(dense) -> Interactions:
    matrix = sp.csr_matrix(np.asarray(dense, np.float32))
    return Interactions(names("u", matrix.shape[0]), names("i", matrix.shape[1]), matrix)


def checkerboard(n_users: int = 40, n_items: int = 30) -> Interactions:
    """Even users like even items and odd users odd ones, but for one item of their own kind each."""
    dense = np.zeros((n_users, n_items), np.float32)
    for user in range(n_users):
        dense[user, user % 2 :: 2] = 1
        dense[user, missing(user, n_items)] = 0
    return interactions(dense)


def missing(user: int, n_items: int = 30) -> int:
    """The one item of a user's kind that the user of `checkerboard` has not had."""
    return (user % 2 + 2 * (user // 2)) % n_items


def columns(rows) -> EventColumns:
    """Events as columns from (user_id, item_id, kind, value, occurred_us)."""
    users, items, kinds, values, occurred = zip(*rows, strict=True) if rows else ((),) * 5
    user_ids, item_ids, kind_names = (tuple(sorted(set(ids))) for ids in (users, items, kinds))
    return EventColumns(
        user_ids,
        item_ids,
        kind_names,
        np.array([user_ids.index(one) for one in users], np.int64),
        np.array([item_ids.index(one) for one in items], np.int64),
        np.array([kind_names.index(one) for one in kinds], np.int32),
        np.array(values, np.float32),
        np.array(occurred, np.int64),
    )


def groups(n_items: int = 20, n_users: int = 40, seed: int = 0, *, events: float = 8.0, own: float = 0.75, n: int = 4):
    """A shop of n groups of items; users like one, whose items most of their events are of. With each item's group."""
    draw = np.random.default_rng((seed, n_items))
    popularity, group = 1 / np.sqrt(1 + draw.permutation(n_items)), np.arange(n_items) % n
    dense = np.zeros((n_users, n_items), np.float32)
    for user in range(n_users):
        liked = np.where(group == draw.integers(n), popularity, 0)
        for _ in range(max(2, draw.poisson(events))):
            odds = liked if draw.random() < own else popularity
            dense[user, draw.choice(n_items, p=odds / odds.sum())] = 1
    met = dense.any(axis=0)
    return interactions(dense[:, met]), group[met]


def share_of_own(scores, group, k: int = 5) -> float:
    """Share of the k best of every item, by (n_items, n_items) scores, that are of its own group."""
    scores = np.array(scores, np.float64)
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((group[nearest] == group[:, None]).mean())
