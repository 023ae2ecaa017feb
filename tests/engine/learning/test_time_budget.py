"""A time to learn in: a search where it is enough for one, else the widest model that it is enough for."""

import pytest

from engine.embedders.default_dims import default_dim
from engine.embedders.registry import make
from engine.errors import InputError
from engine.learning import fit_time_estimate, time_budget
from engine.learning.time_budget import TimeBudget, widest_spectral
from tests.engine.learning.test_auto_select_and_tune import split, tastes


def test_the_estimate_grows_with_the_width_and_with_the_data():
    small = fit_time_estimate.seconds_of_spectral(tastes().matrix, [16, 1024])
    assert 0 < small[16] <= small[1024]
    large = fit_time_estimate.seconds_of_spectral(tastes(n_users=4000, n_items=2000).matrix, [16, 1024])
    assert large[16] < large[1024]
    assert large[1024] > small[1024]


def test_the_widest_that_fits_is_taken_and_the_narrowest_where_none_does(monkeypatch):
    monkeypatch.setattr(
        fit_time_estimate, "seconds_of_spectral", lambda matrix, dims, device: {dim: dim / 10 for dim in dims}
    )
    train = tastes()
    usual = default_dim(len(train.items))
    assert widest_spectral(train, 1000.0) == (usual, usual / 10)
    dim, took = widest_spectral(train, usual / 20)
    assert 16 <= dim <= usual / 2
    assert took <= usual / 20
    assert widest_spectral(train, 0.01)[0] <= time_budget.MIN_DIM


def test_a_budget_without_time_for_a_search_takes_the_width_it_has_time_for(monkeypatch):
    monkeypatch.setattr(
        fit_time_estimate, "seconds_of_spectral", lambda matrix, dims, device: {dim: dim / 10 for dim in dims}
    )
    choice = TimeBudget(10.0).choose(split())
    assert choice.embedder == make("spectral", {"dim": 72})  # 128, 96, 72: the first of at most 8 seconds
    assert choice.trials == ()
    assert "too few for a search" in choice.reason


def test_a_budget_with_time_searches_in_it():
    choice = TimeBudget(3.0).choose(split())
    assert len(choice.trials) > 0
    assert "best of" in choice.reason


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_budget_is_above_zero(seconds):
    with pytest.raises(InputError, match="above 0 seconds"):
        TimeBudget(seconds)
