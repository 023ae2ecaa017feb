"""Rotation: the shelf is in the order of all scores times the factors of what the user was shown."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.recommending.impressions import impressions_since
from engine.recommending.pipeline import recommend
from engine.recommending.values.boosts import Boosts, FilterBoost
from engine.recommending.values.request import Request
from engine.values.events import History, Weighting
from tests.engine.recommending.small_view import SmallView, answer_to
from tests.engine.recommending.test_guarantee import MAX_ITEMS, MadeView, ids, requests, views

WEIGHTING, HOUR = Weighting(), 3_600_000_000
NOW = 1000 * HOUR


def impressions(shown: list[tuple[str, int]]) -> History:
    """Items and how many hours ago they were shown."""
    times = np.array([NOW - hours * HOUR for _, hours in shown], np.int64)
    n = len(shown)
    return History(tuple(id_ for id_, _ in shown), ("impression",) * n, np.ones(n, np.float32), times)


def factor(item_id: str, shown: list[tuple[str, int]], half_life: int) -> float:
    made = 1.0
    for id_, hours in shown:
        if id_ == item_id and hours < 10 * half_life:
            made *= 1 - 0.8 * 0.5 ** (hours / half_life)
    return max(made, 1e-3)


@given(
    view=views,
    request=requests,
    shown=st.lists(st.tuples(ids, st.integers(0, 50)), max_size=6),
    half_life=st.sampled_from([1, 12]),
    added=st.sampled_from([0.0, 0.5, -0.5]),
    source=st.sampled_from(["for_you", "popular"]),
)
def test_a_rotated_shelf_is_in_the_order_of_all_rotated_scores(
    view: MadeView, request: Request, shown, half_life, added, source
) -> None:
    boosts = Boosts([*request.boosts, FilterBoost(("i0", "i1"), 1.0, added)] if added else request.boosts)
    request = replace(request, source=source, boosts=boosts, explain=1, fallback=None)
    [plain] = recommend(view, [replace(request, k=MAX_ITEMS)], weighting=WEIGHTING, now_us=NOW)
    rotating = replace(request, rotation_us=half_life * HOUR, impressions=impressions(shown))
    [answer] = recommend(view, [rotating], weighting=WEIGHTING, now_us=NOW)
    assert len(answer.hits) == min(request.k, len(plain.hits))
    whole = {hit.item_id: hit for hit in plain.hits}
    for hit in answer.hits:
        parts = {part.name: part.adds for part in answer.parts[hit.item_id]}
        assert sum(part.adds for part in answer.parts[hit.item_id]) == pytest.approx(hit.score, abs=1e-4)
        by = factor(hit.item_id, shown, half_life)
        assert ("rotation" in parts) == (by < 1)
        if not added and whole[hit.item_id].reason == hit.reason:
            score = whole[hit.item_id].score
            assert hit.score == pytest.approx(score * by if score > 0 else score / by, rel=1e-4, abs=1e-5)
        if whole[hit.item_id].reason == hit.reason:
            assert hit.score <= whole[hit.item_id].score + 1e-5
    if source == "popular" and not added:
        scores = [
            hit.score * factor(hit.item_id, shown, half_life)
            if hit.score > 0
            else hit.score / factor(hit.item_id, shown, half_life)
            for hit in plain.hits
        ]
        best = sorted(scores, reverse=True)[: request.k]
        assert [hit.score for hit in answer.hits] == pytest.approx(best, rel=1e-4, abs=1e-5)


def test_an_item_comes_back_by_half_life() -> None:
    def shelf(hours: int) -> list[str]:
        shown = impressions([("cap", hours), ("cap", hours), ("mug", hours)])
        asked = {"source": "popular", "k": 3, "rotation_us": 6 * HOUR, "impressions": shown}
        return [hit.item_id for hit in answer_to(SmallView(), now_us=NOW, **asked).hits]

    assert shelf(0) == ["cup", "hat", "mug"]
    assert shelf(6) == ["cup", "cap", "mug"]
    assert shelf(36) == ["cap", "cup", "mug"]


def test_a_request_reads_impressions_as_far_back_as_they_count() -> None:
    assert impressions_since(Request(), NOW) is None
    assert impressions_since(Request(rotation_us=HOUR), NOW) == NOW - 10 * HOUR
    within = Request(rotation_us=HOUR, exclude=frozenset({"impressed"}), exclude_within=(("impressed", 20 * HOUR),))
    assert impressions_since(within, NOW) == NOW - 20 * HOUR
    assert impressions_since(replace(within, exclude_within=()), NOW) == 0
