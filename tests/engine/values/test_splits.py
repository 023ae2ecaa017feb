"""Splits: the training data never contains the test events."""

import numpy as np
import pytest

from engine.errors import NotEnoughData
from engine.values import splits
from engine.values.events import Weighting
from engine.values.interactions import from_events
from tests.engine.worlds import DAY_US, checkerboard, columns


def random_events(n=600):
    draw = np.random.default_rng(1)
    users, items = draw.integers(0, 30, n), draw.integers(0, 20, n)
    kinds = draw.choice(["view", "purchase", "return"], n)
    return columns(
        [(f"u{u}", f"i{i}", str(k), 1.0, int(t)) for u, i, k, t in zip(users, items, kinds, range(n), strict=True)]
    )


def test_a_split_by_time_predicts_later_items_that_are_new_to_the_user():
    events = columns([
        ("ann", "cup", "view", 1, 1), ("bob", "hat", "view", 1, 2), ("bob", "cup", "view", 1, 3),
        ("ann", "cup", "view", 1, 8), ("ann", "hat", "view", 1, 9), ("bob", "new", "view", 1, 9),
        ("eve", "cup", "view", 1, 9),
    ])  # fmt: skip
    split = splits.by_time(events, Weighting(repeat="binary"), until_us=5)
    assert (split.train.users.ids, split.train.items.ids) == (("ann", "bob"), ("cup", "hat"))
    assert split.train.matrix.toarray().tolist() == [[1, 0], [1, 1]]
    assert split.test.toarray().tolist() == [[0, 1], [0, 0]]
    assert not split.repeats
    again = splits.by_time(events, Weighting(predict="any", repeat="binary"), until_us=5)
    assert again.test.toarray().tolist() == [[1, 1], [0, 0]]
    assert again.repeats


def cells(of, matrix):
    found = matrix.tocoo()
    triples = zip(found.row, found.col, found.data, strict=True)
    return {(of.users.ids[row], of.items.ids[column]): value for row, column, value in triples}


@pytest.mark.parametrize("predict", ["new", "any"])
def test_test_cells_keep_their_user_and_item_when_both_sides_have_other_ids(predict):
    draw, weighting = np.random.default_rng(4), Weighting(predict=predict)
    rows = [
        (f"u{draw.integers(0, 30) + t // 20}", f"ü{draw.integers(0, 20) - t // 50}", "view", 1.0, t) for t in range(600)
    ]
    events = columns(rows)
    split = splits.by_time(events, weighting, until_us=400)
    later = from_events(splits.select_events(events, events.occurred_us > 400), weighting, 400)
    assert set(later.users.ids) ^ set(split.train.users.ids)
    assert set(later.items.ids) - set(split.train.items.ids)
    had = cells(split.train, split.train.matrix)
    expected = {
        (user, item): value
        for (user, item), value in cells(later, later.matrix).items()
        if user in split.train.users and item in split.train.items and (predict == "any" or (user, item) not in had)
    }
    assert len(expected) > 20
    assert cells(split.train, split.test) == expected


def test_no_cell_is_in_both_sides_of_either_split():
    by_time = splits.by_time(random_events(), Weighting(), share=0.3)
    at_random = splits.at_random(checkerboard(), share=0.3)
    for split in (by_time, at_random):
        assert split.test.nnz > 0
        assert split.train.matrix.multiply(split.test).nnz == 0


def test_at_random_holds_out_a_share_of_each_user_and_loses_no_cell():
    whole = checkerboard()
    split = splits.at_random(whole, share=0.25, seed=3)
    per_user = np.diff(whole.matrix.indptr)
    assert np.diff(split.test.indptr).tolist() == np.floor(0.25 * per_user).astype(int).tolist()
    assert ((split.train.matrix + split.test) != whole.matrix).nnz == 0
    again, other = splits.at_random(whole, 0.25, seed=3), splits.at_random(whole, 0.25, seed=4)
    assert (again.test != split.test).nnz == 0
    assert (other.test != split.test).nnz > 0


def test_about_the_asked_share_of_events_lies_after_the_split():
    events = random_events(1000)
    split = splits.by_time(events, Weighting(kinds={}, other=1.0), share=0.1)
    before = columns([("u", f"i{n}", "view", 1, n) for n in range(100)])
    assert len(splits.by_time(before, Weighting(), share=0.1).train.items) == 90
    assert 0 < split.test.nnz <= 100


def test_events_of_one_moment_leave_nothing_to_predict():
    events = columns([("ann", "cup", "view", 1, 7), ("bob", "hat", "view", 1, 7)])
    split = splits.by_time(events, Weighting())
    assert (split.train.matrix.nnz, split.test.nnz) == (2, 0)


def test_only_returns_before_the_split_leave_nothing_to_learn():
    events = columns([("ann", "cup", "return", 1, 1), ("ann", "cup", "view", 1, DAY_US)])
    split = splits.by_time(events, Weighting(), until_us=5)
    assert (split.train.matrix.shape, split.test.shape) == ((0, 0), (0, 0))


def test_no_events_are_not_enough():
    with pytest.raises(NotEnoughData, match="there are no events to learn from"):
        splits.by_time(columns([]), Weighting())
