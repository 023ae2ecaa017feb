"""The weights of events, which are equal in training and in live histories."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.embedders.registry import make
from engine.evaluation.ranking_metrics import SpaceScorer
from engine.values.events import History, Weighting, derive_event_id
from engine.values.ids import IdMap
from engine.values.interactions import from_events, from_history
from tests.engine.worlds import DAY_US, columns

NOW = 100 * DAY_US


def cells(rows, weighting):
    made = from_events(columns(rows), weighting, NOW)
    dense = made.matrix.toarray()
    return {(u, i): float(dense[made.users.row(u), made.items.row(i)]) for u in made.users.ids for i in made.items.ids}


def test_each_kind_has_its_weight_and_an_unknown_one_the_other_weight():
    weights = Weighting(other=0.5).weigh(
        ["view", "cart", "purchase", "return", "waved"], np.ones(5, np.float32), np.zeros(5)
    )
    assert weights.tolist() == [1.0, 3.0, 5.0, -5.0, 0.5]


@pytest.mark.parametrize(("value", "expected"), [("ignore", [1, 1, 1]), ("log", [1, 2, 2]), ("linear", [1, 3, 3])])
def test_a_quantity_counts_as_configured_whatever_its_sign(value, expected):
    weights = Weighting(value=value).weigh(["view"] * 3, np.array([1, 3, -3], np.float32), np.zeros(3))
    assert weights.tolist() == expected


def test_a_half_life_halves_the_weight_and_the_future_weighs_as_now():
    ages = np.array([0, 30, 60, -30]) * 86_400.0
    weights = Weighting(half_life_days=30).weigh(["view"] * 4, np.ones(4, np.float32), ages)
    assert weights.tolist() == [1.0, 0.5, 0.25, 1.0]


def test_no_events_weigh_nothing():
    assert Weighting().weigh([], np.zeros(0, np.float32), np.zeros(0)).shape == (0,)


def test_a_return_takes_its_purchase_away_and_leaves_the_other():
    rows = [("ann", "cup", "purchase", 6, NOW), ("ann", "hat", "purchase", 1, NOW), ("ann", "cup", "return", -6, NOW)]
    assert cells(rows, Weighting()).keys() == {("ann", "hat")}


def test_by_default_kinds_repeats_quantities_and_age_count():
    def worth(*events, **given):
        return cells([("ann", "cup", *each) for each in events], Weighting(**given))["ann", "cup"]

    month = 30 * DAY_US
    view, cart, purchase = (worth((kind, 1, NOW)) for kind in ("view", "cart", "purchase"))
    assert view < cart < purchase
    assert view < worth(("view", 1, NOW), ("view", 1, NOW)) < purchase
    assert purchase < worth(("purchase", 6, NOW))
    assert worth(("purchase", 1, NOW - month), half_life_days=30) < worth(("purchase", 1, NOW), half_life_days=30)


def test_a_purchase_weighs_more_than_a_view():
    """Each user buys the items of their parity and views the others, except for one item each."""
    n_users, n_items = 40, 20
    rows = [
        (f"u{user}", f"i{item}", "purchase" if user % 2 == item % 2 else "view", 1, NOW)
        for user in range(n_users)
        for item in range(n_items)
        if item not in (user % n_items, (user + 1) % n_items)
    ]
    right = {}
    for repeat in ("log", "binary"):
        made = from_events(columns(rows), Weighting(repeat=repeat), NOW)
        scores = SpaceScorer(make("spectral", {"dim": 4}).fit(made, seed=0, device="cpu")).scores(made.matrix)
        of = {
            (id_, item): scores[made.users.row(id_), made.items.row(item)]
            for id_, item in product(made.users.ids, made.items.ids)
        }
        like = [of[f"u{user}", f"i{user % n_items}"] for user in range(n_users)]
        unlike = [of[f"u{user}", f"i{(user + 1) % n_items}"] for user in range(n_users)]
        right[repeat] = np.mean(np.greater(like, unlike))
    assert right["log"] == 1
    assert right["binary"] < 1


def test_a_user_and_an_item_left_with_nothing_are_dropped():
    rows = [("ann", "cup", "purchase", 1, NOW), ("bob", "hat", "purchase", 1, NOW), ("bob", "hat", "return", 1, NOW)]
    made = from_events(columns(rows), Weighting(), NOW)
    assert (made.users.ids, made.items.ids, made.item_counts().tolist()) == (("ann",), ("cup",), [1])


@pytest.mark.parametrize(
    ("repeat", "expected"), [("sum", 6.0), ("log", float(np.log1p(np.float32(6)))), ("binary", 1.0)]
)
def test_a_cell_saturates_as_configured(repeat, expected):
    rows = [("ann", "cup", "view", 1, NOW), ("ann", "cup", "purchase", 1, NOW)]
    assert cells(rows, Weighting(repeat=repeat)) == {("ann", "cup"): pytest.approx(expected)}


def test_returns_without_a_purchase_leave_no_interactions():
    made = from_events(columns([("ann", "cup", "return", 1, NOW)]), Weighting(), NOW)
    assert made.matrix.shape == (0, 0)
    assert from_events(columns([]), Weighting(), NOW).matrix.shape == (0, 0)


QUANTITIES = st.lists(st.integers(1, 100_000), min_size=1, max_size=12)


@given(
    QUANTITIES,
    st.randoms(use_true_random=False),
    st.sampled_from(["sum", "log", "binary"]),
    st.sampled_from(["log", "linear"]),
)
def test_everything_bought_and_returned_in_any_order_leaves_nothing(quantities, shuffled, repeat, value):
    rows = [("ann", "cup", kind, n, NOW) for n in quantities for kind in ("purchase", "return")]
    shuffled.shuffle(rows)
    assert cells(rows, Weighting(repeat=repeat, value=value)) == {}


ROWS = st.lists(
    st.tuples(
        st.just("ann"),
        st.sampled_from(["cup", "hat", "pen"]),
        st.sampled_from(["view", "purchase", "return", "waved"]),
        st.sampled_from([1.0, 2.0, 0.5, 12.0, -3.0]),
        st.integers(0, NOW),
    ),
    min_size=1,
    max_size=30,
)


@given(ROWS, st.sampled_from(["sum", "log", "binary"]), st.sampled_from([None, 30.0]))
def test_a_live_history_has_the_same_cells_as_training(rows, repeat, half_life):
    weighting = Weighting(repeat=repeat, half_life_days=half_life)
    items = IdMap(["hat", "new", "cup", "pen"])
    _, item_ids, kinds, values, occurred = zip(*rows, strict=True)
    history = History(item_ids, kinds, np.array(values, np.float32), np.array(occurred, np.int64))
    live = from_history(history, items, weighting, NOW).toarray()[0]
    trained = cells(rows, weighting)
    assert live == pytest.approx([trained.get(("ann", id_), 0.0) for id_ in items.ids], rel=1e-5)
    assert (live > 0).tolist() == [("ann", id_) in trained for id_ in items.ids]


def test_a_history_skips_items_without_a_row_or_a_vector():
    history = History(("cup", "ghost", "hat"), ("view",) * 3, np.ones(3, np.float32), np.zeros(3, np.int64))
    row = from_history(history, IdMap(["cup", "hat"]), Weighting(), NOW, n_columns=1)
    assert row.toarray().tolist() == [[pytest.approx(np.log(2))]]
    assert from_history(History(), IdMap(["cup"]), Weighting(), NOW).nnz == 0


def test_a_derived_event_id_is_the_same_for_the_same_event_and_differs_in_every_field():
    event = ("ann", "cup", "view", 1.0, 5, "")
    others = [
        ("bob", "cup", "view", 1.0, 5, ""),
        ("ann", "hat", "view", 1.0, 5, ""),
        ("ann", "cup", "cart", 1.0, 5, ""),
        ("ann", "cup", "view", 1.5, 5, ""),
        ("ann", "cup", "view", 1.0, 6, ""),
        ("ann", "cup", "view", 1.0, 5, "x"),
    ]
    assert derive_event_id(*event) == derive_event_id(*event)
    assert len({derive_event_id(*one) for one in [event, *others]}) == 7
