"""A request may narrow a placement; what would widen it is an error that names the parameter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.merchandising.placements import Placement, narrowed
from engine.recommending.exclude_parameter import RELATIONS, ExcludedRelations, parse_exclude

DAY_US = 86_400_000_000


def placement(**parameters: Any) -> Placement:
    return Placement("home", 3, parameters)


@pytest.mark.parametrize(
    ("placed", "asked", "expected"),
    [
        ({"k": 12}, {}, {"k": 12}),
        ({"k": 12}, {"k": 5}, {"k": 5}),
        ({}, {"k": 50, "diversity": 0.5}, {}),
        ({"filter": {"brand": "x"}}, {"filter": {"price": 3}}, {"filter": {"and": [{"brand": "x"}, {"price": 3}]}}),
        ({"include_items": ["a", "b"]}, {"include_items": ["c", "b"]}, {"include_items": ["b"]}),
        ({"exclude_items": ["a", "b"]}, {"exclude_items": ["c", "b"]}, {"exclude_items": ["a", "b", "c"]}),
        ({"caps": {"brand": 2, "size": 1}}, {"caps": {"brand": 3}}, {"caps": {"brand": 2, "size": 1}}),
        ({"caps": {"brand": 2}}, {"caps": {"brand": 1, "size": 9}}, {"caps": {"brand": 1, "size": 9}}),
        ({"boost": ["one"]}, {"boost": ["two"]}, {"boost": ["one", "two"]}),
        ({"personalization": "session"}, {"personalization": "none"}, {"personalization": "none"}),
        ({"min_score": "medium"}, {"min_score": "low"}, {"min_score": "medium"}),
        ({"min_score": "medium"}, {"min_score": "high"}, {"min_score": "high"}),
        ({"strategy": "similar"}, {"strategy": "similar"}, {"strategy": "similar"}),
        (
            {"fallback": ["similar", "new", "popular"]},
            {"fallback": ["similar", "popular"]},
            {"fallback": ["similar", "popular"]},
        ),
        ({"fallback": ["similar", "popular"]}, {"fill": "none"}, {"fill": "none"}),
        ({"fill": "new"}, {"fill": "none"}, {"fill": "none"}),
        ({"fill": "new"}, {"fill": "new"}, {"fill": "new"}),
    ],
)
def test_a_request_narrows_a_placement(placed: dict, asked: dict, expected: dict) -> None:
    assert narrowed(placement(**placed), asked) == expected


@pytest.mark.parametrize(
    ("placed", "asked", "message"),
    [
        ({"k": 12}, {"k": 13}, "placement 'home' shows at most 12 items; got a k of 13"),
        ({"strategy": "similar"}, {"strategy": "popular"}, "sets this to 'similar'"),
        ({"diversity": 0.5}, {"diversity": 0.4}, "sets this to 0.5"),
        ({"group_by": "parent_id"}, {"group_by": "brand"}, "sets this to 'parent_id'"),
        ({"include_items": ["a"]}, {"include_items": ["b"]}, "allows none of these items"),
        ({"personalization": "session"}, {"personalization": "full"}, "allows personalization=session or less"),
        ({"fallback": ["similar"]}, {"fallback": ["popular"]}, "falls back to ['similar']"),
        ({"fallback": ["similar", "new"]}, {"fallback": ["new", "similar"]}, "in this order"),
        ({"fallback": ["similar"]}, {"fill": "popular"}, "does not leave the fallback open"),
        ({"fill": "new"}, {"fallback": ["popular"]}, "falls back to []"),
        ({"fill": "none"}, {"fill": "popular"}, "does not leave the fallback open"),
    ],
)
def test_a_request_does_not_widen_a_placement(placed: dict, asked: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        narrowed(placement(**placed), asked, ("body", "shelves", 2))
    assert message in str(caught.value)
    assert caught.value.problems[0].loc == ("body", "shelves", 2, next(iter(asked)))


def test_exclude_adds_groups_and_the_longer_time_holds() -> None:
    placed = placement(exclude=parse_exclude({"purchased": "30d", "carted": "7d", "seen": None}))
    asked = parse_exclude({"purchased": "7d", "carted": None, "impressed": "1d", "seen": "1d"})
    assert narrowed(placed, {"exclude": asked})["exclude"] == ExcludedRelations(
        frozenset({"purchased", "carted", "seen", "impressed"}), (("impressed", DAY_US), ("purchased", 30 * DAY_US))
    )
    with pytest.raises(InputError, match="takes groups away"):
        narrowed(placed, {"exclude": parse_exclude("none")})


excludes = st.dictionaries(st.sampled_from(RELATIONS), st.none() | st.integers(1, 9).map("{}d".format)).map(
    parse_exclude
)


@given(excludes, excludes, st.integers(0, 10 * DAY_US), st.sampled_from(RELATIONS))
def test_an_event_that_one_of_two_excludes_leaves_out_is_left_out(
    placed: ExcludedRelations, asked: ExcludedRelations, age_us: int, relation: str
) -> None:
    def leaves_out(exclude: ExcludedRelations) -> bool:
        return relation in exclude.relations and age_us <= dict(exclude.within).get(relation, age_us)

    try:
        both = narrowed(placement(exclude=placed), {"exclude": asked})["exclude"]
    except InputError:
        return
    assert leaves_out(both) == (leaves_out(placed) or leaves_out(asked))
