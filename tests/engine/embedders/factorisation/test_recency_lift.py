"""What sells of late: flags of cells, and items lifted by them for the same users."""

import numpy as np
import pytest

from engine.embedders.factorisation.recency_lift import recency_factors, with_recency_lift
from engine.embedders.registry import make
from engine.errors import InputError
from engine.evaluation.ranking_metrics import SpaceScorer
from engine.evaluation.validation_set import validation_set
from engine.learning import auto_select
from engine.learning.trials import Trial, best_trial
from engine.values import splits
from engine.values.events import Weighting
from engine.values.interactions import Interactions, from_events
from tests.engine.learning.test_auto_select_and_tune import tastes
from tests.engine.worlds import DAY_US, columns, interactions


def dated(seed: int = 0) -> Interactions:
    """A world of tastes in which items of odd number sell of late and even ones sold before."""
    world = tastes(seed=seed)
    return Interactions(world.users, world.items, world.matrix, world.matrix.indices % 2 == 1)


def cells(of: Interactions) -> dict[tuple[str, str], bool]:
    rows = np.repeat(np.arange(len(of.users)), np.diff(of.matrix.indptr)).tolist()
    pairs = [(of.users.ids[row], of.items.ids[column]) for row, column in zip(rows, of.matrix.indices, strict=True)]
    return dict(zip(pairs, of.recent.tolist(), strict=True))


def test_a_cell_is_recent_by_any_of_its_events_that_counts():
    rows = [
        ("ann", "a", "view", 1, 1 * DAY_US),
        ("ann", "a", "view", 1, 99 * DAY_US),
        ("ann", "b", "view", 1, 2 * DAY_US),
        ("ben", "a", "view", 1, 100 * DAY_US),
        ("ben", "gone", "purchase", 1, 1 * DAY_US),
        ("ben", "gone", "return", 1, 99 * DAY_US),
        ("cid", "b", "purchase", 1, 3 * DAY_US),
        ("cid", "b", "dislike", 0.1, 99 * DAY_US),
    ]
    weighting = Weighting(kinds={"view": 1.0, "purchase": 2.0, "return": -2.0, "dislike": -1.0})
    made = from_events(columns(rows), weighting, 100 * DAY_US)
    assert cells(made) == {("ann", "a"): True, ("ann", "b"): False, ("ben", "a"): True, ("cid", "b"): False}
    assert dict(zip(made.items.ids, made.recent_counts().tolist(), strict=True)) == {"a": 2, "b": 0}


def test_parts_keep_the_flags_of_their_cells():
    whole = dated()
    part = whole.select_users(np.array([7, 3, 50]))
    assert cells(part) == {pair: flag for pair, flag in cells(whole).items() if pair[0] in part.users.ids}
    kept = np.random.default_rng(0).random(whole.matrix.nnz) < 0.5
    half = whole.select_cells(kept)
    pairs = [pair for pair, is_kept in zip(cells(whole), kept, strict=True) if is_kept]
    assert cells(half) == {pair: cells(whole)[pair] for pair in pairs}


def test_flags_must_fit_the_cells():
    world = tastes()
    with pytest.raises(InputError, match="expected a flag for each of"):
        Interactions(world.users, world.items, world.matrix, np.ones(3, bool))


def test_nothing_is_lifted_where_times_are_unknown_all_recent_or_the_power_is_0():
    world = tastes()
    assert recency_factors(world, 1.0) is None
    assert recency_factors(dated(), 0.0) is None
    everything = Interactions(world.users, world.items, world.matrix, np.ones(world.matrix.nnz, bool))
    assert recency_factors(everything, 1.0) == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "params"), [("spectral", {"dim": 8}), ("blend", {"dim": 8, "wide": 16, "sphere": 8, "sphere_epochs": 1})]
)
def test_lifted_items_meet_the_same_users(name, params):
    world = dated()
    plain = make(name, params | {"trend": 0.0}).fit(world, seed=0, device="cpu")
    lifted = make(name, params | {"trend": 1.0}).fit(world, seed=0, device="cpu")
    factors = recency_factors(world, 1.0)
    assert factors[1::2].min() > 1 > factors[::2].max()
    np.testing.assert_allclose(lifted.users.matrix, plain.users.matrix, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(lifted.items.matrix, plain.items.matrix * factors[:, None], rtol=1e-5)
    np.testing.assert_array_equal(lifted.fold_in.vectors(world.matrix), lifted.users.matrix)
    again = with_recency_lift(plain, world, 1.0)
    np.testing.assert_allclose(again.items.matrix, lifted.items.matrix, rtol=1e-5)


def test_of_two_things_that_go_as_well_the_one_that_sells_now_comes_first():
    dense = np.ones((40, 4), np.float32)
    dense[:20, 1], dense[20:, 2] = 0, 0  # items 1 and 2 have 20 users each, items 0 and 3 all
    world = interactions(dense)
    now = Interactions(world.users, world.items, world.matrix, world.matrix.indices == 2)
    history = interactions([[1, 0, 0, 1]]).matrix
    for power, first in ((0.0, None), (1.0, 2)):
        scores = SpaceScorer(make("spectral", {"trend": power}).fit(now, seed=0, device="cpu")).scores(history)[0]
        if first is None:
            assert scores[1] == pytest.approx(scores[2], rel=1e-3)
        else:
            assert scores[2] > 1.5 * scores[1]


def test_the_winner_of_a_race_is_fitted_again_with_recent_popularity_if_times_are_known():
    for world, is_dated in ((dated(), True), (tastes(), False)):
        on = validation_set(splits.at_random(world, 0.3, 1))
        trials, _ = auto_select.run_race(on, [("spectral", {}), ("spectral", {"dim": 4})], 60.0, seed=0, device="cpu")
        assert len(trials) == (
            2 + len(auto_select.TRENDS) * len(auto_select.OUT_EXPONENT_INCREASES) - 1 if is_dated else 2
        )
        assert {trial.params.get("trend") for trial in trials[2:]} == (set(auto_select.TRENDS) if is_dated else set())
        assert all(trial.state == "done" for trial in trials)
        assert best_trial(trials).figure == max(trial.figure for trial in trials)


def test_seasons_run_where_the_last_entries_had_no_time(monkeypatch):
    def took(seconds):
        return lambda on, name, params, **options: Trial(name, params, "done", 0.1, 0.1, seconds, dim=4)

    monkeypatch.setattr(auto_select, "run_trial", took(7.0))
    on, found = (
        validation_set(splits.at_random(dated(), 0.3, 1)),
        [("spectral", {}), ("spectral", {"dim": 4}), ("ials", {})],
    )
    trials, late = auto_select.run_race(on, found, 12.0, seed=0, device="cpu")
    assert ["trend" in trial.params for trial in trials] == [False, False, True]
    assert late[0] == ("ials", {})
    assert len(late) == len(auto_select.TRENDS) * len(auto_select.OUT_EXPONENT_INCREASES) - 1
    monkeypatch.setattr(auto_select, "run_trial", took(20.0))
    assert len(auto_select.run_race(on, found, 12.0, seed=0, device="cpu")[0]) == 1


def test_a_blend_with_an_mf_part_is_not_learnt_again_for_every_exponent():
    winner = Trial("blend", {"sphere": 4}, "done", 0.1, 0.1, 1.0)
    assert auto_select.trend_entries(winner, dated()) == [
        ("blend", {"sphere": 4, "trend": 0.0}),
        ("blend", {"sphere": 4, "trend": 1.0}),
    ]
    assert auto_select.trend_entries(Trial("ials", {}, "done", 0.1, 0.1, 1.0), dated()) == []
    assert auto_select.trend_entries(None, dated()) == []
