"""Random boosts, and views of items with numbers, times and vectors, for tests of boosts."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from engine.recommending.values.boosts import Boosts, CurveBoost, FilterBoost
from engine.values.vectors import normalise_rows
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import MetricSearcher
from tests.engine.recommending.small_view import SmallView
from tests.engine.recommending.test_guarantee import MAX_ITEMS, made_view

DAY_US = 86_400_000_000
NOW_US = 40 * DAY_US
ids = st.sampled_from([f"i{row}" for row in range(MAX_ITEMS)])
some = st.lists(ids, max_size=6, unique=True).map(tuple)
factors = st.sampled_from([0.01, 0.5, 1.0, 1.3, 100.0])
addends = st.sampled_from([-2.0, -0.1, 0.0, 0.3, 5.0])
filter_boosts = st.builds(FilterBoost, some, factors, addends)
xs = st.lists(st.integers(-3, 60), min_size=1, max_size=4, unique=True).map(sorted)
curve_boosts = st.builds(
    lambda xs, ys, adds, is_age, missing, chosen: CurveBoost(
        "born" if is_age else "size",
        tuple((float(x), (y - 1 if adds else y)) for x, y in zip(xs, ys, strict=False)),
        is_age,
        adds,
        missing - 1 if adds else missing,
        chosen,
    ),
    xs,
    st.lists(st.sampled_from([0.2, 1.0, 3.0]), min_size=4, max_size=4),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.5, 1.0]),
    st.none() | some,
)
boosts = st.lists(filter_boosts | curve_boosts, min_size=1, max_size=5).map(Boosts)


def fields_of(seed: int, n_items: int) -> dict[str, dict[int, frozenset[float]]]:
    draw = np.random.default_rng(seed)
    size = {0: frozenset([3.0])} | {row: frozenset([float(draw.integers(0, 50))]) for row in range(0, n_items, 2)}
    born = {0: frozenset([0.0])} | {
        row: frozenset([float(draw.integers(0, 40)) * DAY_US]) for row in range(1, n_items, 2)
    }
    return {"size": size, "born": born}


def view_of(seed: int, share: float, metric: str, vectors: np.ndarray) -> SmallView:
    searcher = MetricSearcher(ExactSearcher(normalise_rows(vectors) if metric == "cosine" else vectors), metric)
    made = made_view(seed, MAX_ITEMS, MAX_ITEMS, share, metric)
    return replace(made, raw=vectors, users_to_items=searcher, fields=fields_of(seed, MAX_ITEMS))
