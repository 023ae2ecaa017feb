"""Exploration: a measured share of slots, seeded, and items known to do badly are shown rarely."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from engine.values.ids import IdMap
from tests.engine.recommending.small_view import SmallView, answer_to

N = 60


def shop(clicks: np.ndarray, impressions: np.ndarray) -> SmallView:
    return SmallView(
        items=IdMap(f"i{row}" for row in range(N)),
        most_popular=np.arange(N),
        popularity=np.linspace(2, 1, N, dtype=np.float32),
        newest=np.arange(N)[::-1],
        behaviour=SimpleNamespace(counts=SimpleNamespace(clicks=clicks, impressions=impressions)),
    )


def explored(view: SmallView, **asked) -> list[str]:
    hits = answer_to(view, source="popular", k=10, **asked).hits
    assert len({hit.item_id for hit in hits}) == 10
    return [hit.item_id for hit in hits if hit.reason == "explored"]


def test_the_share_of_explored_slots_is_the_one_asked_for() -> None:
    view = shop(np.zeros(N), np.zeros(N))
    counts = [len(explored(view, explore=0.25, seed=seed)) for seed in range(400)]
    assert set(counts) == {2, 3}
    assert abs(np.mean(counts) - 2.5) < 0.1
    assert len(explored(view, explore=1.0, seed=1)) == 10
    assert explored(view, explore=0.0) == []


def test_a_seed_chooses_the_same_again_and_shelves_without_a_seed_differ() -> None:
    view = shop(np.zeros(N), np.zeros(N))
    assert explored(view, explore=0.5, seed=7) == explored(view, explore=0.5, seed=7)
    assert len({tuple(explored(view, explore=0.5)) for _ in range(10)}) > 1


def test_uncertain_and_good_items_are_explored_and_bad_ones_rarely() -> None:
    impressions, clicks = np.full(N, 10_000.0), np.full(N, 100.0)
    clicks[::3] = 2000  # these do well; the others are known to do badly
    impressions[50:], clicks[50:] = 0, 0  # new
    view = shop(clicks, impressions)
    chosen = Counter(id_ for seed in range(300) for id_ in explored(view, explore=0.3, seed=seed))
    shown = {id_: chosen[id_] for id_ in (f"i{row}" for row in range(10, N))}
    bad = [shown[f"i{row}"] for row in range(10, 50) if row % 3]
    new = [shown[f"i{row}"] for row in range(50, N)]
    assert sum(chosen.values()) == 900
    assert np.mean(new) > 10 * np.mean(bad)
    assert not any(chosen[f"i{row}"] for row in range(10)), "these are shown anyway"


def test_items_that_change_places_change_no_other_choice() -> None:
    """As do scores that differ by rounding; the first ten items are the shelf itself."""
    view = shop(np.zeros(N), np.zeros(N))
    for one, other in ((30, 31), (9, 10)):
        popularity = view.popularity.copy()
        popularity[[one, other]] = popularity[[other, one]]
        swapped = replace(view, popularity=popularity, most_popular=np.argsort(-popularity, kind="stable"))
        for seed in range(20):
            chosen, again = (explored(each, explore=0.5, seed=seed) for each in (view, swapped))
            if not {*chosen, *again} & {"i9", "i10"}:
                assert again == chosen
