"""Behaviour against plain Python definitions: baskets, items bought together, trends, intervals and counts."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.behaviour import bought_together as together
from engine.behaviour import buy_again, repurchase, trending
from engine.behaviour.behaviour import find_behaviour, no_behaviour, restore
from engine.behaviour.buy_again import due_scores
from engine.errors import CorruptGeneration
from engine.values.events import EventColumns, Weighting

DAY_US = 86_400_000_000
NOW_US = 400 * DAY_US
KINDS = ("view", "purchase", "cart", "impression", "return")
ONCE = Weighting(kinds={"purchase": 1.0, "view": 0.0, "cart": 0.0, "return": -1.0}, value="ignore", repeat="binary")
N_ITEMS = 6


def columns(rows, baskets=True):
    """Of (user, item, kind, day, basket)."""
    user, item, kind, day, basket = (list(each) for each in zip(*rows, strict=True)) if rows else ([],) * 5
    return EventColumns(
        (),
        (),
        KINDS,
        np.array(user, np.int64),
        np.array(item, np.int64),
        np.array([KINDS.index(each) for each in kind], np.int32),
        np.ones(len(rows), np.float32),
        np.array(day, np.int64) * DAY_US,
        np.array(basket, np.int64) if baskets else None,
    )


events = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(0, N_ITEMS - 1), st.sampled_from(KINDS), st.integers(300, 399), st.integers(0, 9)
    ),
    max_size=60,
)


def taken(rows):
    for kind in ("purchase", "cart"):
        of_kind = [row for row in rows if row[2] == kind]
        if of_kind:
            return of_kind
    return []


@given(events)
@settings(max_examples=60, deadline=None)
def test_bought_together_is_the_shrunk_lift_of_weighted_baskets(rows):
    baskets, days = defaultdict(set), defaultdict(int)
    for user, item, _, day, basket in taken(rows):
        baskets[basket or (user, day)].add(item)
        days[basket or (user, day)] = max(days[basket or (user, day)], day)
    kept = [(items, days[key]) for key, items in baskets.items() if len(items) > 1]
    newest = max((day for _, day in kept), default=0)

    def weight(*wanted):
        ages = [newest - day for items, day in kept if items.issuperset(wanted)]
        return sum(2 ** (-age / together.HALF_LIFE_DAYS) for age in ages)

    def score(item, p, count):
        p_ij = (count + together.SHRINKAGE * p) / (weight(item) + together.SHRINKAGE)
        return p_ij / p**together.LIFT

    lists = find_behaviour(columns(rows), ONCE, N_ITEMS, now_us=NOW_US).bought_together
    top = max(map(weight, range(N_ITEMS))) / (weight() or 1)
    for item in range(N_ITEMS):
        others = set().union(*(items for items, _ in kept if item in items)) - {item}
        expected = {
            other: score(item, weight(other) / weight(), weight(item, other) - together.DISCOUNT) for other in others
        }
        unseen = score(item, top, 0) if others else 0
        expected = {other: each for other, each in expected.items() if each > unseen * (1 + 1e-6)}
        found, scores = lists.of(item)
        assert dict(zip(found.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-5)
        assert (np.diff(scores) <= 0).all()
    assert len(lists.of(N_ITEMS)[0]) == 0, "an item added since the build"


def test_a_basket_of_the_future_does_not_outweigh_all_others():
    rows = [(0, item, "purchase", 390, basket) for basket in range(1, 9) for item in (0, 1)]
    lists = find_behaviour(
        columns([*rows, (0, 2, "purchase", 90_000, 99), (0, 3, "purchase", 90_000, 99)]), ONCE, N_ITEMS, now_us=NOW_US
    ).bought_together
    assert lists.of(0)[0].tolist() == [1]


def test_pairs_of_this_season_are_before_those_of_last_year():
    old = [(0, item, "purchase", 35, basket) for basket in range(1, 31) for item in (0, 1)]
    new = [(0, item, "purchase", 399, basket) for basket in range(31, 51) for item in (0, 2)]
    assert find_behaviour(columns(old + new), ONCE, N_ITEMS, now_us=NOW_US).bought_together.of(0)[0].tolist()[0] == 2


@given(events)
@settings(max_examples=60, deadline=None)
def test_trends_are_rates_of_the_last_days_against_the_items_usual_ones(rows):
    days = defaultdict(list)
    for user, item, kind, day, _ in rows:
        days[item, user, day].append({"purchase": 1.0, "return": -1.0}.get(kind, 0.0))
    newest = max((day for _, _, day in days), default=400)
    recent, usual = np.zeros(N_ITEMS), np.zeros(N_ITEMS)
    for (item, _, day), weights in days.items():
        recent[item] += np.sign(sum(weights)) * 2 ** (-(newest - day) / trending.RECENT_DAYS)
        usual[item] += np.sign(sum(weights)) * 2 ** (-(newest - day) / trending.USUAL_DAYS)
    now, before = (
        np.maximum(sums, 0) * np.log(2) / half_life
        for sums, half_life in ((recent, trending.RECENT_DAYS), (usual, trending.USUAL_DAYS))
    )
    expected = now * ((now + trending.SHRINKAGE) / (before + trending.SHRINKAGE)) ** trending.MOMENTUM
    found = find_behaviour(columns(rows), ONCE, N_ITEMS, now_us=NOW_US).trending
    assert found.scores == pytest.approx(expected / (expected.max() or 1.0), rel=1e-4, abs=1e-6)
    assert sorted(found.order.tolist()) == list(range(N_ITEMS))
    assert (np.diff(found.scores[found.order]) <= 0).all()


@given(events, events)
@settings(max_examples=40, deadline=None)
def test_trends_and_counts_updated_by_new_pairs_equal_those_of_all_events(before, after):
    after = [(user + 5, *rest) for user, *rest in after]  # other pairs
    built = (
        find_behaviour(columns(before), ONCE, N_ITEMS - 2, now_us=NOW_US)
        if all(row[1] < N_ITEMS - 2 for row in before)
        else find_behaviour(columns(before), ONCE, N_ITEMS, now_us=NOW_US)
    )
    as_of_us = max([built.trending.as_of_us, *(row[3] * DAY_US for row in after)])
    new = columns(after)
    rows = np.arange(N_ITEMS)
    changes = trending.trend_sums(trending.daily_weights(new, ONCE, NOW_US), as_of_us, N_ITEMS)
    counts = find_behaviour(new, ONCE, N_ITEMS, now_us=NOW_US).counts.table
    updated = built.updated(rows, changes, counts, as_of_us).extended(N_ITEMS)
    whole = find_behaviour(columns(before + after), ONCE, N_ITEMS, now_us=NOW_US)
    assert updated.counts.table.tolist() == whole.counts.table.tolist()
    if before:
        assert updated.trending.scores == pytest.approx(whole.trending.scores, rel=1e-4, abs=1e-6)


@given(events, st.booleans())
@settings(max_examples=60, deadline=None)
def test_repurchase_days_are_observed_days_per_repurchase_shrunk_to_the_rate_of_such_items(rows, has_categories):
    categories = [0, 0, 0, 1, -1, -1] if has_categories else [-1] * N_ITEMS
    found = find_behaviour(columns(rows), ONCE, N_ITEMS, now_us=NOW_US, categories=np.array(categories)).repurchase_days
    bought = defaultdict(set)
    for user, item, _, day, _ in taken(rows):
        bought[user, item].add(day)
    newest = max((day for days in bought.values() for day in days), default=0)

    def observed(item):
        """Observed days, repurchases and purchases."""
        mine = [days for (_, each), days in bought.items() if each == item]
        return sum(newest - min(days) for days in mine), sum(len(days) - 1 for days in mine), sum(map(len, mine))

    numbers = [observed(item) for item in range(N_ITEMS)]
    n = sum(again for _, again, _ in numbers)
    weight = sum(days * purchases**0.5 for days, _, purchases in numbers)
    for item, (days, again, purchases) in enumerate(numbers):
        if n == 0 or purchases == 0:
            assert np.isnan(found[item])
            continue
        rate = n / weight * purchases**0.5
        if categories[item] >= 0:
            of_category = [each for each, code in zip(numbers, categories, strict=True) if code == categories[item]]
            expected = sum(days * n / weight * purchases**0.5 for days, _, purchases in of_category)
            rate *= (sum(again for _, again, _ in of_category) + repurchase.SHRINKAGE) / (
                expected + repurchase.SHRINKAGE
            )
        interval = (days + repurchase.SHRINKAGE / rate) / (again + repurchase.SHRINKAGE)
        assert found[item] == pytest.approx(max(interval, 1), rel=1e-4)


@given(events)
@settings(max_examples=30, deadline=None)
def test_counts_are_numbers_of_events(rows):
    counts = find_behaviour(columns(rows), ONCE, N_ITEMS, now_us=NOW_US).counts
    expected = Counter((item, kind) for _, item, kind, _, _ in rows)
    for item in range(N_ITEMS):
        found = [counts.impressions[item], counts.clicks[item], counts.carts[item], counts.purchases[item]]
        assert found == [expected[item, kind] for kind in ("impression", "view", "cart", "purchase")]


def test_a_pair_bought_once_is_not_listed_and_the_bestseller_is_not_first_in_every_list():
    """Bread (0) is in most baskets; pasta (1) and sauce (2) belong together; caviar (3) was bought with pasta once."""
    rows, basket = [], 0
    for items, n in (((0, 4), 200), ((1, 2), 60), ((0, 1), 40), ((1, 3), 1)):
        for _ in range(n):
            basket += 1
            rows += [(0, item, "purchase", 350, basket) for item in items]
    found = find_behaviour(columns(rows), ONCE, N_ITEMS, now_us=NOW_US).bought_together.of(1)[0]
    assert found.tolist() == [2, 0]


def test_a_basket_is_an_order_else_the_day_of_a_user():
    rows = [
        (0, 0, "purchase", 350, 7),
        (1, 1, "purchase", 350, 7),
        (0, 2, "purchase", 350, 0),
        (0, 3, "purchase", 350, 0),
    ]
    lists = find_behaviour(columns(rows), ONCE, N_ITEMS, now_us=NOW_US).bought_together
    assert [lists.of(item)[0].tolist() for item in range(4)] == [[1], [0], [3], [2]]
    without = find_behaviour(columns(rows, baskets=False), ONCE, N_ITEMS, now_us=NOW_US).bought_together
    assert sorted(without.of(0)[0].tolist()) == [2, 3]


def test_lists_computed_in_parts_equal_those_computed_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    rows = [(0, int(item), "purchase", 350, int(basket)) for item, basket in rng.integers(1, 40, (900, 2))]
    whole = find_behaviour(columns(rows), ONCE, 40, now_us=NOW_US).bought_together
    monkeypatch.setattr(together, "MAX_PAIRS", 50)
    parts = find_behaviour(columns(rows), ONCE, 40, now_us=NOW_US).bought_together
    assert whole.rows.tolist() == parts.rows.tolist()
    assert whole.starts.tolist() == parts.starts.tolist()


def test_a_basket_without_end_keeps_a_part_of_its_items(monkeypatch):
    monkeypatch.setattr(together, "MAX_BASKET", 5)
    rows = [(0, item, "purchase", 350, 1) for item in range(40)]
    lists = find_behaviour(columns(rows), ONCE, 40, now_us=NOW_US).bought_together
    assert sorted(len(lists.of(item)[0]) for item in range(40)) == [0] * 35 + [4] * 5


def test_an_item_bought_at_its_interval_is_due_before_one_bought_now_and_one_long_gone():
    last = NOW_US - np.array([0, 28, 300]) * DAY_US
    scores = due_scores(last, np.array([3, 3, 3]), np.full(3, 28, np.float32), NOW_US)
    assert scores.argmax() == 1
    assert (scores > 0).all()
    unknown = due_scores(last, np.array([1, 1, 1]), np.full(3, np.nan, np.float32), NOW_US)
    assert np.isfinite(unknown).all()
    assert len(due_scores(last[:0], last[:0], np.zeros(0, np.float32), NOW_US)) == 0


def test_what_was_bought_a_minute_ago_comes_last_however_often_it_is_bought():
    ages_s = np.array([60, 86_400, 17 * 86_400, 28 * 86_400, 360 * 86_400])
    scores = due_scores(
        NOW_US - ages_s * 1_000_000, np.array([50, 1, 1, 1, 1]), np.array([7, *[28] * 4], np.float32), NOW_US
    )
    assert np.argsort(-scores).tolist() == [2, 3, 1, 4, 0]
    assert (scores.astype(np.float32) > 0).all()


@given(st.lists(st.tuples(st.floats(0, 2000), st.integers(1, 90), st.floats(1, 900) | st.none()), min_size=1))
@settings(max_examples=50, deadline=None)
def test_due_scores_are_rates_that_dip_after_a_purchase_and_fade(items):
    ages, n_bought, intervals = zip(*items, strict=True)
    last = NOW_US - (np.array(ages) * DAY_US).astype(np.int64)
    known = np.array([np.nan if each is None else each for each in intervals], np.float32)
    expected = []
    for age, n, each in items:
        rate = n / (each or 365.0)
        expected.append(rate * age / (age + buy_again.FRESH_DAYS) * (1 + age * rate) ** -buy_again.GIVEN_UP)
    assert due_scores(last, np.array(n_bought), known, NOW_US) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_behaviour_is_restored_from_its_arrays_and_refused_if_they_do_not_fit():
    rows = [(0, 0, "purchase", 350, 7), (1, 1, "purchase", 352, 7), (0, 0, "purchase", 360, 0)]
    made = find_behaviour(columns(rows), ONCE, N_ITEMS, now_us=NOW_US)
    again = restore(made.arrays(), N_ITEMS)
    assert again.trending.scores.tolist() == made.trending.scores.tolist()
    assert again.counts.table.tolist() == made.counts.table.tolist()
    assert again.bought_together.of(0)[0].tolist() == [1]
    for name, wrong in (
        ("repurchase_days", np.zeros(3, np.float32)),
        ("together_rows", made.arrays()["together_rows"] + N_ITEMS),
        ("counts", made.arrays()["counts"] * np.nan),
    ):
        with pytest.raises(CorruptGeneration):
            restore(made.arrays() | {name: wrong}, N_ITEMS)


def test_new_items_have_no_behaviour_yet():
    extended = no_behaviour(2).extended(4)
    assert len(extended) == len(extended.trending) == len(extended.counts) == 4
    assert extended is no_behaviour(4) or extended.extended(4) is extended
    assert replace(extended, _extended={}).trending.order.tolist() == [0, 1, 2, 3]
