"""The share of `new` for items that nobody has seen, against its definition in plain Python."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.behaviour.behaviour import no_behaviour
from engine.behaviour.item_counts import from_table
from engine.recommending.values.boosts import Boosts, FilterBoost
from tests.engine.recommending.small_view import SmallView, answer_to
from tests.engine.recommending.test_guarantee import MAX_ITEMS, made_view


def seen(view, rows):
    counts = np.zeros((4, len(view.items)))
    counts[np.arange(len(rows)) % 4, rows] = 1
    return replace(view, behaviour=replace(no_behaviour(len(view.items)), counts=from_table(counts)))


def shown(view, **asked):
    return [hit.item_id for hit in answer_to(view, source="new", **asked).hits]


def test_every_third_slot_is_for_an_item_that_nobody_has_seen() -> None:
    view = SmallView()  # new, pen, cap, hat, mug, cup
    assert shown(view) == ["new", "pen", "cap", "hat", "mug", "cup"]
    assert shown(seen(view, [5, 4, 3, 2])) == ["new", "pen", "mug", "cap", "hat", "cup"]
    assert shown(seen(view, [5, 4, 3, 2]), exclude_items=["mug"]) == ["new", "pen", "cup", "cap", "hat"]
    assert shown(seen(view, range(6))) == ["new", "pen", "cap", "hat", "mug", "cup"]


def test_addends_order_the_items_of_each_kind() -> None:
    lifted = Boosts([FilterBoost(("hat", "cup"), 1.0, 1.0)])
    assert shown(seen(SmallView(), [5, 4, 3, 2]), boosts=lifted) == ["hat", "cup", "mug", "new", "pen", "cap"]


@given(
    seed=st.integers(0, 2**16),
    n_items=st.integers(1, MAX_ITEMS),
    is_seen=st.lists(st.booleans(), min_size=MAX_ITEMS, max_size=MAX_ITEMS),
    k=st.integers(1, MAX_ITEMS),
    excluded=st.sets(st.integers(0, MAX_ITEMS - 1), max_size=4),
)
def test_the_order_is_that_of_the_definition(seed, n_items, is_seen, k, excluded) -> None:
    view = made_view(seed, n_items, 1, 0.8, "dot")
    view = seen(view, [row for row in range(n_items) if is_seen[row]])
    left = [row for row in view.newest.tolist() if row not in excluded and view.allowed[row]]
    expected: list[str] = []
    while left and len(expected) < k:
        unseen = [row for row in left if not is_seen[row]] if len(expected) % 3 == 2 else []
        row = (unseen or left)[0]
        left.remove(row)
        expected.append(view.items.ids[row])
    assert shown(view, k=k, exclude_items=[f"i{row}" for row in excluded]) == expected
