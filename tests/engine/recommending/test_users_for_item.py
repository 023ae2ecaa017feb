"""Users for an item: the scores are those of the item in each user's recommendations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import NotFound
from engine.recommending import users_for_item as module
from engine.recommending.exclude_parameter import ExcludedRelations
from engine.recommending.users_for_item import users_for_item
from engine.values.events import EventColumns, History
from tests.engine.recommending.small_view import WEIGHTING, SmallView, answer_to

ITEMS = ("cup", "mug", "hat", "cap", "pen")
KINDS = ("view", "purchase", "dislike")
NOTHING = ExcludedRelations()
NOW_US = 10_000_000
EVENTS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4), st.integers(0, 1)), max_size=40)


def columns(rows):
    """Events of users u0 to u7 from (user, item, kind) numbers; a later row is later."""
    user, item, kind = np.array(rows, np.int64).reshape(-1, 3).T
    times = np.arange(len(rows), dtype=np.int64)
    users = tuple(f"u{n}" for n in range(8))
    return EventColumns(users, ITEMS, KINDS, user, item, kind.astype(np.int32), np.ones(len(rows), np.float32), times)


def history_of(events, user):
    of = np.flatnonzero(events.user_rows == int(user[1:]))[::-1]
    kinds = tuple(KINDS[code] for code in events.kind_codes[of])
    return History(tuple(ITEMS[row] for row in events.item_rows[of]), kinds, events.values[of], events.occurred_us[of])


def found_for(item_id, events, k=100, exclude=NOTHING, view=None):
    users = events.user_ids
    asked = {"k": k, "exclude": exclude, "weighting": WEIGHTING, "now_us": NOW_US}
    return users_for_item(view or SmallView(), events, users, item_id, **asked)


@given(rows=EVENTS, item_id=st.sampled_from(ITEMS[:4]), k=st.integers(1, 8), chunk=st.sampled_from([2, 6, 2**20]))
def test_the_best_users_are_the_users_who_get_the_highest_scores_for_the_item(rows, item_id, k, chunk):
    events, scores = columns(rows), {}
    for user in events.user_ids:
        answer = answer_to(SmallView(), history=history_of(events, user), k=9, now_us=NOW_US)
        hits = {hit.item_id: hit for hit in answer.hits}
        if any(hit.reason == "history" for hit in answer.hits):
            scores[user] = hits[item_id].score if hits[item_id].reason == "history" else 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_FLOATS", chunk)
        found = found_for(item_id, events, k)
    assert found.n_without_vector == 8 - len(scores)
    assert len(found.user_ids) == min(k, len(scores)) == len(set(found.user_ids))
    expected = sorted(scores.values(), reverse=True)[:k]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5, atol=1e-6)
    for user, score in zip(found.user_ids, found.scores.tolist(), strict=True):
        assert score == pytest.approx(scores[user], rel=1e-5, abs=1e-6)


def test_buyers_of_the_item_are_left_out_and_counted():
    events = columns([(0, 0, 1), (0, 1, 0), (1, 1, 0), (2, 0, 0)])
    found = found_for("cup", events, exclude=ExcludedRelations(frozenset({"purchased"})))
    assert set(found.user_ids) == {"u1", "u2"}
    assert (found.n_excluded, found.n_without_vector) == (1, 5)


def test_the_reason_is_the_most_similar_item_of_the_history():
    events = columns([(0, 2, 0), (0, 1, 0), (1, 2, 0), (2, 0, 0)])
    found = found_for("cup", events)
    assert dict(zip(found.user_ids, found.because, strict=True)) == {"u0": "mug", "u1": "hat", "u2": "cup"}


@pytest.mark.parametrize(("item_id", "message"), [("sock", "there is no item 'sock'"), ("pen", "has no vector yet")])
def test_an_item_that_cannot_be_scored_is_not_found(item_id, message):
    with pytest.raises(NotFound, match=message):
        found_for(item_id, columns([]))
