"""The delta: changed vectors are searched exactly and merged with the answer of the index in true order."""

from dataclasses import dataclass

import numpy as np
import pytest

from indexing.live.delta import Delta
from indexing.recipes.recipe import Recipe, build
from indexing.searchers.metric import MetricSearcher, index_vectors, inverse_lengths, query_vectors

N, DIM, K = 42_000, 8, 25


@dataclass(frozen=True, eq=False)
class Main:
    """The parts of a generation that a delta uses."""

    vectors: np.ndarray
    metric: str
    users_to_items: MetricSearcher
    items_to_items: MetricSearcher


@pytest.fixture(scope="module")
def vectors():
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((300, DIM))
    return (centres[draw.integers(0, 300, N)] + 0.3 * draw.standard_normal((N, DIM))).astype(np.float32)


MADE = {}


def made(vectors, metric, factory):
    if (metric, factory) not in MADE:
        MADE[metric, factory] = built(vectors, metric, factory)
    return MADE[metric, factory]


def built(vectors, metric, factory):
    factors = inverse_lengths(vectors)
    by = {}
    for label in {metric, "cosine"} if factory != "IVF128,SQ8" else {metric}:
        queries = query_vectors(vectors[:200], label)
        by[label] = build(Recipe(factory), vectors, queries, factors if label == "cosine" else None).searcher
    return Main(
        vectors, metric, MetricSearcher(by[metric], metric), MetricSearcher(by.get("cosine", by[metric]), "cosine")
    )


@pytest.mark.parametrize(("metric", "factory"), [("dot", "Flat"), ("cosine", "IVF128,SQ8"), ("dot", "IVF128,SQ8")])
@pytest.mark.parametrize("share", [None, 0.6, 0.002])
def test_merged_search_is_that_of_the_vectors_as_they_are_now(vectors, metric, factory, share):
    main, draw = made(vectors, metric, factory), np.random.default_rng(1)
    changed = {int(row): 1.2 * vectors[draw.integers(0, N)] for row in draw.choice(N, 2000, replace=False)}
    new = {N + row: vectors[1000 + row] * 1.01 for row in range(100)}
    delta = Delta(main, changed | new)
    now = np.vstack([vectors, *[new[N + row][None] for row in range(100)]])
    for row, vector in changed.items():
        now[row] = vector
    allowed = None if share is None else draw.random(len(now)) < share
    queries = vectors[1000:1040] + 0.01
    scores, rows = delta.users_to_items.search(queries, K, allowed)
    truth = query_vectors(queries, metric) @ index_vectors(now, metric).T
    assert (rows >= 0).all()
    assert all(len(set(line)) == K for line in rows.tolist())
    assert scores == pytest.approx(np.take_along_axis(truth, rows, 1), rel=1e-4, abs=1e-4)  # of the rows as they are
    assert (np.diff(scores, axis=1) <= 1e-6).all()
    if allowed is not None:
        assert allowed[rows].all()
        truth[:, ~allowed] = -np.inf
    last = -np.sort(-truth, axis=1)[:, K - 1 : K]
    assert np.mean(scores >= last - 1e-4) >= (1.0 if factory == "Flat" else 0.97)
    found = set(rows.ravel().tolist())
    assert share == 0.002 or (found & set(changed) and found & set(new))


def test_a_plan_is_computed_once_for_a_read_only_mask(vectors):
    main = made(vectors, "dot", "IVF128,SQ8")
    delta = Delta(main, {5: vectors[7]})
    allowed = np.arange(N) % 2 == 0
    allowed.flags.writeable = False
    searcher = main.users_to_items.inner
    searcher._plans._cached.clear()
    for _ in range(3):
        delta.users_to_items.search(vectors[:1], K, allowed)
        main.users_to_items.search(vectors[:1], K, allowed)
    assert len(searcher._plans._cached) == 2  # as it is, and without the rows that the delta replaces
    assert not main.users_to_items.search(vectors[:1], K, allowed)[1].ravel().tolist()[0] % 2
    open_to_change = allowed.copy()
    assert main.users_to_items.search(vectors[:1], K, open_to_change)[1].min() >= 0
    open_to_change[:] = np.arange(N) % 2 == 1
    assert (main.users_to_items.search(vectors[:1], K, open_to_change)[1] % 2 == 1).all()
