"""Items that a shelf excludes: seen, purchased, returned, disliked. A live history and the event table agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.recommending.exclude_parameter import RELATIONS, WORDS, exclude_from_text, parse_exclude
from engine.recommending.exclusions import related_items, related_pairs
from engine.values.events import History, Weighting
from tests.engine.worlds import columns

DEFAULT = Weighting()


def history(*rows: tuple[str, str, float, int]) -> History:
    """From (item_id, kind, value, occurred_us)."""
    items, kinds, values, occurred = zip(*rows, strict=True)
    return History(items, kinds, np.array(values, np.float32), np.array(occurred, np.int64))


def related(*rows: tuple[str, str, float, int], weighting: Weighting = DEFAULT) -> dict[str, set[str]]:
    return {relation: related_items(history(*rows), weighting, [relation]) for relation in RELATIONS}


def test_each_relation_of_a_user_to_an_item() -> None:
    found = related(
        ("looked at", "view", 1, 1),
        ("bought", "Order Completed", 1, 2),
        ("bought and returned", "purchase", 2, 3),
        ("bought and returned", "refund", 2, 4),
        ("hidden", "hide", 1, 5),
    )
    assert found["seen"] == {"looked at", "bought", "bought and returned", "hidden"}
    assert found["purchased"] == {"bought", "bought and returned"}
    assert found["returned"] == {"bought and returned"}
    assert found["disliked"] == {"hidden"}


def test_an_item_with_impressions_alone_was_not_seen() -> None:
    assert related(("a", "view_item_list", 1, 1), ("b", "impression", 1, 2), ("b", "view", 1, 3))["seen"] == {"b"}


def test_an_item_kept_in_part_or_bought_again_is_not_returned() -> None:
    assert related(("cup", "purchase", 12, 1), ("cup", "return", 2, 2), ("cup", "return", 2, 3))["returned"] == set()
    assert related(("cup", "purchase", 1, 1), ("cup", "return", 1, 2), ("cup", "purchase", 1, 3))["returned"] == set()
    assert related(("cup", "return", 1, 1))["returned"] == {"cup"}
    ignored = Weighting(value="ignore")
    assert related(("cup", "purchase", 9, 1), ("cup", "return", 1, 2), weighting=ignored)["returned"] == {"cup"}


@pytest.mark.parametrize(
    ("kinds", "disliked"),
    [
        (("purchase", "view", "view", "dislike"), True),
        (("dislike", "view", "click"), True),
        (("dislike", "remove_from_cart", "unlike"), True),
        (("dislike", "like"), False),
        (("dislike", "add_to_cart"), False),
        (("dislike", "purchase", "hide"), True),
        (("remove_from_cart",), False),
        (("unlike",), False),
        (("return",), False),
        (("impression",), False),
    ],
)
def test_the_newest_opinion_decides(kinds: tuple[str, ...], disliked: bool) -> None:
    rows = [("cup", kind, 1, at) for at, kind in enumerate(kinds)]
    assert related(*rows)["disliked"] == ({"cup"} if disliked else set())
    assert related(*reversed(rows))["disliked"] == ({"cup"} if disliked else set()), "in whatever order they come"


def test_a_dislike_wins_over_a_like_of_the_same_moment() -> None:
    assert related(("cup", "like", 1, 5), ("cup", "dislike", 1, 5))["disliked"] == {"cup"}


def test_a_word_of_the_shop_with_a_weight_below_zero_is_a_dislike_and_one_above_takes_it_back() -> None:
    listed = Weighting(kinds=dict(DEFAULT.kinds) | {"swiped_left": -1.0, "wishlist": 2.0})
    assert related(("cup", "swiped left", 1, 1), weighting=listed)["disliked"] == {"cup"}
    assert related(("cup", "swiped left", 1, 1), ("cup", "wishlist", 1, 2), weighting=listed)["disliked"] == set()
    assert related(("cup", "swiped left", 1, 1))["disliked"] == set(), "nobody knows what it means"


def test_an_item_is_carted_until_it_is_removed_from_the_cart() -> None:
    assert related(("cup", "add_to_cart", 1, 1), ("cup", "purchase", 1, 2))["carted"] == {"cup"}
    assert related(("cup", "cart", 1, 1), ("cup", "remove_from_cart", 1, 2))["carted"] == set()
    assert related(("cup", "cart", 1, 1), ("cup", "remove_from_cart", 1, 2), ("cup", "cart", 1, 3))["carted"] == {"cup"}
    assert related(("cup", "remove_from_cart", 1, 2))["carted"] == set()


def test_a_word_also_excludes_disliked_and_returned_items_and_a_list_only_those_it_names() -> None:
    def relations(exclude: object) -> frozenset[str]:
        assert parse_exclude(exclude).within == ()
        return parse_exclude(exclude).relations

    assert relations("none") == {"returned", "disliked"}
    assert relations("purchased") == {"purchased", "returned", "disliked"}
    assert relations("seen") == {"seen", "purchased", "returned", "disliked"}
    assert relations([]) == relations({}) == set()
    assert relations(["purchased"]) == {"purchased"}
    assert relations(exclude_from_text(["[]"])) == relations(exclude_from_text("[]")) == set()
    assert relations(exclude_from_text(["purchased", "disliked"])) == {"purchased", "disliked"}
    assert relations(exclude_from_text(["none"])) == relations("none")
    with pytest.raises(ValueError, match=r'such as \["disliked"\], or an object with a time for each'):
        parse_exclude(["none"])
    for wrong in ("some", ["bought"], [1], None, {"bought": "1d"}, "[1", "{", '{"seen"}', "[" * 10_000):
        with pytest.raises(ValueError, match="expected seen, purchased or none"):
            parse_exclude(exclude_from_text(wrong))


def test_an_object_excludes_each_group_within_its_time() -> None:
    parsed = parse_exclude(exclude_from_text('{"purchased": "30d", "carted": "12h", "seen": null}'))
    assert parsed.relations == {"purchased", "carted", "seen"}
    assert dict(parsed.within) == {"purchased": 30 * 86_400_000_000, "carted": 12 * 3_600_000_000}
    for wrong in ({"seen": 1}, {"seen": "soon"}, {"seen": "0d"}, {"seen": ["1d"]}):
        with pytest.raises(ValueError, match=r"seen: expected a duration .* or null for all times"):
            parse_exclude(wrong)


def standing(rows: list, relation: str, since: int) -> bool:
    """Whether a relation holds for the (kind, value, time) of one user and one item."""
    times = {kind: [at for each, _, at in rows if each == kind] for kind, _, _ in rows}

    def newest(*kinds: str) -> int:
        return max((at for kind in kinds for at in times.get(kind, ())), default=-1)

    bought, returned = (sum(value for kind, value, _ in rows if kind == word) for word in ("purchase", "refund"))
    found = {
        "seen": newest(*times.keys() - {"shown"}),
        "purchased": newest("purchase"),
        "carted": newest("cart") if newest("cart") >= newest("Product Removed") else -1,
        "returned": newest("refund") if bought <= returned else -1,
        "disliked": newest("dislike") if newest("dislike") >= newest("like", "cart", "purchase") else -1,
        "impressed": newest("shown"),
    }
    return found[relation] >= max(since, 0)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "ben"]),
        st.sampled_from(["cup", "hat", "pen"]),
        st.sampled_from(["view", "purchase", "refund", "dislike", "like", "waved", "cart", "Product Removed", "shown"]),
        st.sampled_from([1.0, 2.0, 0.5, 12.0]),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=30,
)


RELATED = st.sets(st.sampled_from(RELATIONS)) | st.sampled_from([set(words) for words in WORDS.values()])
STARTS = st.dictionaries(st.sampled_from(RELATIONS), st.integers(0, 6))


@given(ROWS, RELATED, STARTS)
def test_a_live_history_and_the_event_table_give_the_relations_of_their_definitions(
    rows: list, parts: set[str], starts: dict[str, int]
) -> None:
    events, starts = columns(rows), {relation: since for relation, since in starts.items() if relation in parts}
    users, items = related_pairs(events, DEFAULT, parts, starts)
    found = {(events.user_ids[user], events.item_ids[item]) for user, item in zip(users, items, strict=True)}
    live = {
        (user, item)
        for user in {row[0] for row in rows}
        for item in related_items(history(*(row[1:] for row in rows if row[0] == user)), DEFAULT, parts, starts)
    }
    expected = {
        pair
        for pair in {row[:2] for row in rows}
        if any(standing([row[2:] for row in rows if row[:2] == pair], each, starts.get(each, 0)) for each in parts)
    }
    assert found == live == expected
