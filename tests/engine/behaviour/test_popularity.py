"""Popularity: weighted, of users and not of clicks, forgotten by a half-life that is chosen on what came after."""

import numpy as np
import pytest

from engine.behaviour.popularity import pair_weights, rank_by_popularity
from engine.embedders.registry import make
from engine.evaluation import popularity_half_life
from engine.evaluation.baselines import Popularity
from engine.evaluation.evaluate_embedder import evaluate_embedder
from engine.evaluation.ranking_metrics import evaluate_ranking
from engine.values import splits
from engine.values.events import Weighting
from tests.engine.worlds import DAY_US, columns


def sums(rows, half_life_days=None, as_of_us=0, weighting=None):
    events = columns(rows)
    made = pair_weights(events, weighting or Weighting()).item_sums(half_life_days, as_of_us, len(events.item_ids))
    return dict(zip(events.item_ids, made.tolist(), strict=True))


def each(n, item, kind, at_us=0, prefix="u"):
    return [(f"{prefix}{user}", item, kind, 1.0, at_us) for user in range(n)]


def test_a_disliked_or_returned_item_is_not_popular():
    rows = [
        *each(60, "hated", "dislike"),
        *each(50, "broken", "purchase"),
        *each(50, "broken", "return"),
        *each(30, "good", "purchase"),
    ]
    found = sums(rows)
    assert found == {
        "hated": pytest.approx(-60 * np.log1p(3)),
        "broken": 0.0,
        "good": pytest.approx(30 * np.log1p(5)),
    }
    order = rank_by_popularity(np.array([found["hated"], found["broken"], found["good"]])).order.tolist()
    assert order == [2, 1, 0]


def test_a_thousand_clicks_of_one_visitor_count_as_one_purchase():
    found = sums([*each(1, "clicked", "click") * 1000, *each(2, "bought", "purchase")])
    assert found["clicked"] == pytest.approx(np.log1p(5))
    assert found["bought"] == pytest.approx(2 * np.log1p(5))


def test_forty_buyers_of_the_last_two_weeks_are_before_a_hundred_of_last_summer():
    now = 150 * DAY_US
    rows = [*each(100, "summer", "purchase"), *each(40, "winter", "purchase", now - 7 * DAY_US, "v")]
    assert sums(rows)["summer"] > sums(rows)["winter"]
    found = sums(rows, 28.0, now)
    assert found["winter"] == pytest.approx(40 * np.log1p(5) * 2 ** (-7 / 28))
    assert found["summer"] < found["winter"] / 10
    choice = popularity_half_life.choose_half_life(columns(rows), Weighting(), 2)
    assert choice.half_life_days == 28.0  # too few to choose on


def test_a_cell_is_as_old_as_its_newest_event_and_a_late_report_of_an_old_one_makes_it_no_younger():
    new, old = ("ann", "cup", "view", 1.0, 28 * DAY_US), ("ann", "cup", "view", 1.0, 0)
    assert sums([new, old], 28.0, 28 * DAY_US)["cup"] == pytest.approx(np.log1p(2))
    assert sums([old], 28.0, 28 * DAY_US)["cup"] == pytest.approx(np.log1p(1) / 2)


def test_an_event_dated_in_the_future_counts_as_of_now():
    events = columns([("ann", "cup", "view", 1.0, 900 * DAY_US), ("ben", "hat", "view", 1.0, 0)])
    made = pair_weights(events, Weighting(), now_us=DAY_US).item_sums(7.0, DAY_US, 2)
    assert made.tolist() == pytest.approx([np.log1p(1), np.log1p(1) * 2 ** (-1 / 7)])


def test_the_order_survives_twenty_years_without_events():
    rows = [("ann", "older", "view", 1.0, 0), ("ben", "old", "view", 1.0, 7 * DAY_US)]
    found = rank_by_popularity(np.array(list(sums(rows, 7.0, 19 * 365 * DAY_US).values())))
    assert (found.order.tolist(), (found.shares > 0).all()) == ([0, 1], True)  # old, older
    new = found.updated(np.array([2]), np.array([1.0]))
    assert new.order.tolist() == [2, 0, 1]
    assert (new.shares > 0).all()


def test_an_updated_ranking_equals_a_new_one():
    draw = np.random.default_rng(0)
    made = np.round(draw.normal(size=200), 1)
    for _ in range(20):
        rows, by = draw.permutation(210)[:15], np.round(draw.normal(size=15), 1)
        before, wider = rank_by_popularity(made), np.concatenate([made, np.zeros(max(0, rows.max() + 1 - len(made)))])
        made = wider.copy()
        made[rows] += by
        after = before.updated(rows, by)
        assert after.sums.tolist() == made.tolist()
        assert np.sort(after.order).tolist() == list(range(len(made)))
        assert (np.diff(made[after.order]) <= 0).all()
    assert len(rank_by_popularity(made).extended(300).order) == 300


def seasons(n_users=400):
    """Each week everybody takes up three items of that week, which nobody wants later."""
    draw, rows = np.random.default_rng(0), []
    for user in range(n_users):
        for week in draw.choice(20, 4, replace=False):
            rows += [(f"u{user}", f"w{week:02d}-{item}", "view", 1.0, (7 * week + draw.random() * 7) * DAY_US)
                     for item in draw.choice(15, 3, replace=False)]  # fmt: skip
    return columns([(user, item, kind, value, int(at)) for user, item, kind, value, at in rows])


def evergreens(n_users=400):
    """What is popular stays so; the last time of each item is chance."""
    draw, odds = np.random.default_rng(0), 1 / np.arange(1, 301)
    rows = [
        (f"u{user}", f"i{item:03d}", "view", 1.0, int(draw.random() * 400 * DAY_US))
        for user in range(n_users)
        for item in draw.choice(300, 4, replace=False, p=odds / odds.sum())
    ]
    return columns(rows)


def test_the_half_life_is_short_where_fashions_change_and_long_where_they_do_not():
    short = popularity_half_life.choose_half_life(seasons(), Weighting(), len(seasons().item_ids))
    assert short.half_life_days == 7.0
    long = popularity_half_life.choose_half_life(evergreens(), Weighting(), 300)
    assert long.half_life_days is None or long.half_life_days >= 56.0
    assert [each["half_life_days"] for each in short.tried] == [28.0, 14.0, 56.0, 7.0, 112.0, 365.0, None]


def test_without_times_nothing_is_forgotten():
    rows = [(f"u{user}", f"i{item}", "view", 1.0, 0) for user in range(40) for item in range(user % 5, 9)]
    assert popularity_half_life.choose_half_life(columns(rows), Weighting(), 9).half_life_days is None
    split = splits.by_time_or_random(columns(rows), Weighting())
    assert popularity_half_life.popularity_of_training_part(split)[1].half_life_days is None


def test_the_figures_of_a_choice_are_those_of_an_evaluation():
    """recall@20 and ndcg@20 by places in one order against ranking for every user."""
    events = evergreens()
    before = splits.without_latest(events)
    split = splits.by_time(events, Weighting(), until_us=int(before.occurred_us.max()))
    made = evaluate_embedder(make("spectral", {"dim": 4}), split)["popularity"]
    known = np.isin(events.user_rows, before.user_rows)  # the evaluation asks for known users alone
    [tried] = [
        each
        for each in popularity_half_life.choose_half_life(splits.select_events(events, known), Weighting(), 300).tried
        if each["half_life_days"] == made["half_life_days"]
    ]
    assert (tried["recall@20"], tried["ndcg@20"]) == pytest.approx((made["recall@20"], made["ndcg@20"]), abs=0.01)


def test_the_popularity_of_an_evaluation_is_the_one_that_is_served():
    split = splits.by_time_or_random(seasons(), Weighting())
    told = evaluate_embedder(make("spectral", {"dim": 4}), split)["popularity"]
    assert told["half_life_days"] == 7.0
    assert len(told["half_lives_tried"]) == 7
    sums = pair_weights(split.events, Weighting()).item_sums(
        7.0, int(split.events.occurred_us.max()), len(split.events.item_ids)
    )
    rows = [split.events.item_ids.index(id_) for id_ in split.train.items.ids]
    made = evaluate_ranking(Popularity(rank_by_popularity(sums[rows]).shares), split.train.matrix, split.test)
    assert told["recall@20"] == pytest.approx(made.recall.mean(), abs=1e-5)
    assert told["recall@20"] > 0
    assert "half_life_days" not in evaluate_embedder(make("spectral", {"dim": 4}), split)["popularity_of_all_times"]
