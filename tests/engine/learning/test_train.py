"""train: a figure beside what must be beaten, then everything is learnt from."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from engine.embedders.registry import make
from engine.errors import NotEnoughData
from engine.learning.auto_select import AutoSelect
from engine.learning.train import train
from engine.values import splits
from engine.values.events import Weighting
from engine.values.splits import Split
from tests.engine.worlds import DAY_US, columns

NOW = 400 * DAY_US


def tasteful(n_users=60, n_items=40, each=16, seed=0):
    """Even users take up even items, odd ones odd items, in random order over a year."""
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        for item in draw.permutation(n_items // 2)[:each]:
            rows.append((f"u{user}", f"i{2 * item + user % 2}", "view", 1.0, int(draw.integers(0, 365 * DAY_US))))
    return columns(rows)


def fashions(n_users=60, seed=0):
    """Everybody has had a taste and then takes up the one hit of the shop: popularity cannot be beaten."""
    rows = []
    for user in range(n_users):
        rows += [(f"u{user}", f"i{user % 20 + 20 * n}", "view", 1.0, user) for n in range(3)]
        rows.append((f"u{user}", "hit", "view", 1.0, 10 * DAY_US if user < 50 else 300 * DAY_US + user))
    return columns(rows)


def test_a_taste_is_learnt_and_reported_beside_popularity_and_item_knn():
    steps = []
    made = train(
        tasteful(), make("spectral", {"dim": 2}), Weighting(), now_us=NOW, progress=lambda *step: steps.append(step)
    )
    assert made.evaluation["recall@20"] > 1.2 * made.evaluation["popularity"]["recall@20"]
    assert set(made.evaluation) >= {"recall@20", "ndcg@20", "coverage@20", "recall@20_interval", "n_users", "item_knn"}
    low, high = made.evaluation["recall@20_interval"]
    assert low <= made.evaluation["recall@20"] <= high
    assert made.beats_popularity
    assert (made.embedder, made.params["dim"], made.params["seed"]) == ("spectral", 2, 0)
    shares = [share for _, share in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("name", "params"), [("mf", {"epochs": 4}), ("blend", {"dim": 4, "sphere": 4, "sphere_epochs": 4})]
)
def test_the_progress_of_a_fit_grows_evenly_to_its_end(name, params):
    steps = []
    train(tasteful(), make(name, params), Weighting(), now_us=NOW, progress=lambda *step: steps.append(step))
    shares = [share for what, share in steps if what.startswith("fit on everything, pass")]
    assert shares == pytest.approx([0.925, 0.95, 0.975, 1.0])


def test_events_without_times_are_raced_and_evaluated_on_random_parts_of_them():
    events = tasteful()
    events = replace(events, occurred_us=np.full_like(events.occurred_us, 7 * DAY_US))
    made = train(events, AutoSelect(), Weighting(), now_us=NOW)
    assert made.evaluation["split"] == "random"
    assert made.evaluation["recall@20"] > 1.2 * made.evaluation["popularity"]["recall@20"]
    assert len(made.evaluation["choice"]["trials"]) > 1
    assert len(made.space.users) == 60


def test_a_history_of_one_moment_before_events_with_times_is_raced_on_a_random_part_of_it():
    events = tasteful()
    late = events.occurred_us > np.quantile(events.occurred_us, 0.92)
    made = train(
        replace(events, occurred_us=np.where(late, events.occurred_us, 0)), AutoSelect(), Weighting(), now_us=NOW
    )
    assert "split" not in made.evaluation
    assert len(made.evaluation["choice"]["trials"]) > 1


def test_no_choice_uses_the_test_items():
    events = tasteful()
    for each in (events, replace(events, occurred_us=np.zeros_like(events.occurred_us))):
        last, inner = (
            splits.by_time_or_random(each, Weighting(), seed=3),
            splits.validation_split(each, Weighting(), seed=3),
        )
        assert not (cells(inner, inner.train.matrix) | cells(inner, inner.test)) & cells(last, last.test)
        assert last.test.nnz
        assert inner.test.nnz
    for divided in (splits.events_at_random(events, Weighting(), seed=3), splits.leave_last_out(events, Weighting())):
        inner = splits.random_validation_split(divided, seed=3)
        assert cells(inner, inner.train.matrix) | cells(inner, inner.test) == cells(divided, divided.train.matrix)
        assert divided.test.nnz
        assert inner.test.nnz


def cells(split: Split, matrix: sp.csr_matrix) -> set[tuple[str, str]]:
    users, items = split.train.users.ids, split.train.items.ids
    return {(users[user], items[item]) for user, item in zip(*matrix.nonzero(), strict=True)}


def test_the_model_kept_has_learnt_from_all_events():
    made = train(tasteful(), make("spectral", {"dim": 2}), Weighting(), now_us=NOW)
    assert len(made.space.users) == 60
    assert len(made.space.items) == 40
    assert made.interactions.matrix.nnz == 60 * 16
    assert made.space.fold_in.vectors(made.interactions.matrix) == pytest.approx(made.space.users.matrix, abs=1e-4)


def test_a_model_worse_than_popularity_is_flagged():
    flat = make("ials", {"dim": 1, "iterations": 1, "reg": 1000.0})
    made = train(fashions(), flat, Weighting(repeat="binary"), now_us=NOW)
    assert made.evaluation["recall@20"] < made.evaluation["popularity"]["recall@20"] == 1.0
    assert made.beats_popularity is False


def test_training_on_nothing_is_not_enough_data():
    for events in (columns([]), columns([("ann", "cup", "return", 1, 1)])):
        with pytest.raises(NotEnoughData, match="no user has an item with positive weight"):
            train(events, make("spectral"), Weighting(), now_us=NOW)


def test_one_event_is_learnt_from_and_the_missing_evaluation_is_noted():
    made = train(columns([("ann", "cup", "view", 1, 1)]), make("spectral"), Weighting(), now_us=NOW)
    assert made.evaluation["note"] == "too little data after the split to evaluate"
    assert made.space.items.ids.ids == ("cup",)
    assert made.beats_popularity


def test_the_same_seed_and_clock_train_the_same_model():
    first, again = (train(tasteful(), make("ials", {"dim": 4}), Weighting(), now_us=NOW, seed=7) for _ in range(2))
    assert first.evaluation | {"fit_seconds": 0} == again.evaluation | {"fit_seconds": 0}
    assert np.array_equal(first.space.items.matrix, again.space.items.matrix)


def test_auto_chooses_without_the_last_tenth_and_the_choice_is_kept():
    made = train(tasteful(), AutoSelect(), Weighting(), now_us=NOW)
    choice = made.evaluation["choice"]
    assert choice["embedder"] == made.embedder
    assert len(choice["trials"]) > 5
    assert made.evaluation["recall@20"] > 1.2 * made.evaluation["popularity"]["recall@20"]
