"""auto and tune: what is chosen on validation data is told with why, and a search that was stopped goes on."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from engine.checkpoints import Checkpoints
from engine.embedders.default_dims import DEFAULT_SPHERE_DIM
from engine.embedders.factorisation import normalised_svd
from engine.embedders.factorisation.svd_cache import svd_cache
from engine.embedders.registry import EMBEDDERS, make
from engine.embedders.training.device import torch_device
from engine.errors import InputError, NotEnoughData
from engine.evaluation.validation_set import validation_set
from engine.fitting.training_passes import PASSES_PARAMETER, REPORTED_PASSES_PARAMETER
from engine.learning import auto_select
from engine.learning.auto_select import AutoSelect, race_entries
from engine.learning.search_space import DEEP_BLEND, SPACES, deep_blend_params, start_params
from engine.learning.trials import MARGIN, Trial, best_trial, smallest_near_best
from engine.learning.tune import DEFAULT_EMBEDDERS, Search, tune
from engine.values import splits
from tests.engine.worlds import checkerboard, interactions


def tastes(n_users=120, n_items=60, n_tastes=4, seed=0):
    """Users of one taste take up most items of it: easy to learn, hard for popularity."""
    draw = np.random.default_rng(seed)
    same = np.arange(n_users)[:, None] % n_tastes == np.arange(n_items)[None] % n_tastes
    return interactions(draw.random((n_users, n_items)) < np.where(same, 0.7, 0.02))


def split(seed=0):
    return splits.at_random(tastes(seed=seed), 0.3, seed=1)


def test_auto_takes_the_best_entry_of_its_race_and_says_why():
    steps = []
    choice = AutoSelect().choose(split(), seed=0, device="cpu", progress=lambda *step: steps.append(step))
    winner = smallest_near_best(choice.trials)
    assert (choice.embedder.name, winner.state) == (winner.embedder, "done")
    assert {trial.embedder for trial in choice.trials} == {"spectral", "blend", "ials"}
    assert winner.figure >= (1 - MARGIN) * max(trial.figure for trial in choice.trials)
    assert choice.reason.startswith(f"{winner.embedder} (")
    assert "on validation" in choice.reason
    assert "120 users, 60 items" in choice.reason
    assert len(steps) == len(choice.trials)
    assert winner.recall > 0.5
    again = AutoSelect().choose(split(), seed=0, device="cpu")
    assert [trial.figure for trial in again.trials] == [trial.figure for trial in choice.trials]


def test_auto_takes_the_default_where_there_is_too_little_to_race_on():
    choice = AutoSelect().choose(splits.at_random(checkerboard(6, 8), 0.3), seed=0, device="cpu")
    assert choice.embedder == make("spectral")
    assert "too few for a race" in choice.reason
    assert choice.trials == ()


def test_a_race_that_is_out_of_time_has_still_run_its_first_entry():
    choice = AutoSelect(seconds=0).choose(split(), seed=0, device="cpu")
    assert [trial.state for trial in choice.trials] == ["done"]
    left = choice.reason.partition("; not started within 0 s: ")[2]
    assert left.count("spectral (dim=") == 2
    assert "ials (dim=64)" in left


def test_a_race_that_was_killed_goes_on_where_it_was(tmp_path, monkeypatch):
    whole = AutoSelect().choose(split(), seed=0, device="cpu")
    ran = []
    attempt = auto_select.run_trial

    def killed(on, name, params, **options):
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append((name, params))
        return attempt(on, name, params, **options)

    kept = Checkpoints(tmp_path)
    monkeypatch.setattr(auto_select, "run_trial", killed)
    with pytest.raises(KeyboardInterrupt):
        AutoSelect(checkpoints=kept).choose(split(), seed=0, device="cpu")
    monkeypatch.setattr(
        auto_select, "run_trial", lambda *args, **options: ran.append(args[1:]) or attempt(*args, **options)
    )
    resumed = AutoSelect(checkpoints=kept).choose(split(), seed=0, device="cpu")
    assert kept.messages == ["the race resumed after 3 entries"]
    assert ran == [(trial.embedder, trial.params) for trial in whole.trials]
    assert resumed.embedder == whole.embedder
    assert resumed.reason == whole.reason
    AutoSelect(checkpoints=kept).choose(split(), seed=1, device="cpu")
    assert len(ran) == 2 * len(whole.trials)  # another race


def test_the_likely_winner_on_a_large_catalogue_starts_early():
    assert race_entries(interactions(np.eye(2, 20_001)))[2][1] == {"dim": 2} | DEEP_BLEND


def test_the_entries_of_a_race_depend_on_the_size_of_the_data():
    small = {name for name, _ in race_entries(tastes())}
    large = interactions(np.eye(2, 6_001))
    assert small == {"spectral", "blend", "ials"}
    assert {name for name, _ in race_entries(large)} == {"spectral", "blend", "ials"}
    blends = [params for name, params in race_entries(interactions(np.eye(2, 20_001))) if name == "blend"]
    assert blends == [{"dim": 2} | DEEP_BLEND]  # as wide as it goes, and without the wide parts that add nothing to it
    assert not [params for _, params in race_entries(large) if params.get("sphere") == DEEP_BLEND["sphere"]]
    wide = [params for _, params in race_entries(large, repeats=True) if params.get("weight") == 3]
    assert wide
    assert not [params for _, params in race_entries(large) if params.get("weight") == 3]


def test_blends_race_without_passes_and_with_them_only_on_data_that_they_are_quick_on(monkeypatch):
    quick = [params.get("sphere") for name, params in race_entries(tastes()) if name == "blend"]
    monkeypatch.setattr(auto_select, "MAX_CELLS_WITH_PASSES", 10)
    large = race_entries(tastes())
    assert quick[-1] == DEFAULT_SPHERE_DIM
    assert quick[:-1] == [0] * (len(quick) - 1)
    assert {params.get("sphere") for name, params in large if name == "blend"} == {0}
    assert "ials" not in {name for name, _ in large}


def test_entries_that_share_a_factorisation_give_the_same_results_as_alone(monkeypatch):
    calls = []
    svd = normalised_svd.randomised_svd
    monkeypatch.setattr(normalised_svd, "randomised_svd", lambda *args: calls.append(args) or svd(*args))
    world = tastes()
    with svd_cache():
        wide, narrow = (make("spectral", {"dim": dim}).fit(world, seed=0, device="cpu") for dim in (32, 8))
    assert len(calls) == 1
    alone = make("spectral", {"dim": 8}).fit(world, seed=0, device="cpu")
    assert len(calls) == 2
    assert (wide.dim, narrow.dim) == (32, 8)
    scores = [space.users.matrix @ space.items.matrix.T for space in (narrow, alone)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_factors_of_another_matrix_or_exponent_are_not_shared():
    first, second = tastes(seed=0).matrix, tastes(seed=1).matrix
    options = {"user_exponent": 0.4, "seed": 0, "device": torch_device("cpu")}
    with svd_cache():
        of_first = normalised_svd.normalised_svd(first, 4, item_exponent=0.4, **options)
        of_second = normalised_svd.normalised_svd(second, 4, item_exponent=0.4, **options)
        other = normalised_svd.normalised_svd(first, 4, item_exponent=0.1, **options)
    assert not np.allclose(of_first.eigenvalues, of_second.eigenvalues)
    assert not np.allclose(of_first.eigenvalues, other.eigenvalues)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_a_search_starts_within_its_ranges_at_parameters_the_embedder_takes(name):
    assert name in EMBEDDERS
    params = start_params(name, 128)
    assert all(SPACES[name][key].low <= value <= SPACES[name][key].high for key, value in params.items())
    assert make(name, params | ({PASSES_PARAMETER[name]: 1} if name in PASSES_PARAMETER else {})).name == name


def test_tune_searches_refuses_to_overrun_and_keeps_every_trial(tmp_path):
    path = tmp_path / "study.json"
    choice = tune(split(), 2.0, embedders=("spectral", "ials"), study=path)
    assert {trial.embedder for trial in choice.trials} == {"spectral", "ials"}
    assert choice.embedder.name == best_trial(choice.trials).embedder
    assert "best of" in choice.reason
    assert len(json.loads(path.read_bytes())["trials"]) == len(choice.trials)
    assert json.loads(json.dumps(choice.to_json()))["trials"][0]["recall@20"] > 0


def test_a_search_that_goes_on_takes_up_its_trials_and_one_on_other_data_starts_from_the_best(tmp_path):
    path = tmp_path / "study.json"
    first = tune(split(), 1.0, embedders=("spectral",), study=path)
    more = tune(split(), 0.5, embedders=("spectral",), study=path)
    assert list(more.trials[: len(first.trials)]) == list(first.trials)
    assert len(more.trials) > len(first.trials)
    other = tune(split(seed=5), 1.5, embedders=("spectral",), study=path)
    assert best_trial(more.trials).params in [trial.params for trial in other.trials]
    assert other.trials[0].figure != first.trials[0].figure


def test_a_search_without_time_or_data_says_so(tmp_path):
    empty = tune(split(), 0.0, embedders=("spectral",))
    assert (empty.embedder.name, list(empty.trials)) == ("spectral", [])
    assert "no trial finished" in empty.reason
    nothing = splits.at_random(checkerboard(), 0.0)
    with pytest.raises(NotEnoughData, match="nothing to tune on"):
        tune(nothing, 1.0)
    with pytest.raises(InputError, match="expected embedders of spectral, "):
        tune(split(), 1.0, embedders=("magic",))
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(InputError, match=r"study\.json is not a study"):
        tune(split(), 1.0, study=tmp_path / "study.json")


def first_trial(embedder):
    """Whatever the machine is busy with."""
    return next(Search(validation_set(split()), (embedder,), 0, "cpu", 1000.0, [], []).run())


def test_tune_tries_a_blend_and_begins_with_its_defaults():
    first = first_trial("blend")
    assert (first.embedder, first.state, first.note) == ("blend", "done", "")
    assert (first.params["sphere"], first.params["wide"]) == (128, 512)


def test_a_trial_whose_short_fit_tells_that_it_would_take_too_long_ends_there(monkeypatch):
    fitted, now_s = [], [0.0]

    def slow(self, name, params):
        fitted.append(params["iterations"])
        now_s[0] += 0.4
        return 0.1, 0.1

    monkeypatch.setattr(Search, "_fit", slow)
    monkeypatch.setattr("engine.learning.tune.time", SimpleNamespace(perf_counter=lambda: now_s[0]))
    trial = next(Search(validation_set(split()), ("ials",), 0, "cpu", 1.5, [], []).run())
    assert (trial.state, trial.note.split(" s,")[0]) == ("pruned", "would take 1")
    assert fitted == [4]  # of 12


def test_on_a_large_catalogue_tune_begins_with_the_deep_blend(monkeypatch):
    monkeypatch.setattr("engine.learning.tune.DEEP_BLEND_ITEMS", 10)
    first = first_trial("blend")
    assert first.params == deep_blend_params(128)
    assert first.params.items() >= {"dim": 256, **DEEP_BLEND}.items()
    assert all(
        SPACES["blend"][key].low <= value <= SPACES["blend"][key].high for key, value in deep_blend_params(1024).items()
    )


def test_a_trial_may_take_the_time_that_is_left_after_reserving_the_final_fit(monkeypatch):
    search = Search(validation_set(split()), ("spectral",), 0, "cpu", 100.0, [], [])
    monkeypatch.setattr(search, "elapsed", lambda: 40.0)
    assert search.left() == 30
    search.trials.append(Trial("spectral", {}, "done", 0.2, 0.2, 50.0))
    assert search.left() == 10


def test_tune_knows_the_passes_of_every_embedder_that_has_them():
    assert {name for name in SPACES if make(name).abilities.resumable} <= set(REPORTED_PASSES_PARAMETER)
    assert set(DEFAULT_EMBEDDERS) <= set(SPACES)


def test_a_blend_starts_without_a_wide_part_where_the_narrow_one_is_wide_enough():
    assert (start_params("blend", 128)["wide"], start_params("blend", 1024)["wide"]) == (512, 0)


def test_trials_of_one_blend_share_all_its_factorisations(monkeypatch):
    calls = []
    svd = normalised_svd.randomised_svd
    monkeypatch.setattr(normalised_svd, "randomised_svd", lambda *args: calls.append(args) or svd(*args))
    world = tastes()
    params = {"dim": 8, "wide": 16, "sphere": 8, "sphere_epochs": 1, "user_exponent": 0.2}
    with svd_cache():
        make("blend", params).fit(world, seed=0, device="cpu")
        first = len(calls)
        for weight in (0.3, 0.6):
            make("blend", params | {"weight": weight, "sphere_weight": weight}).fit(world, seed=0, device="cpu")
    assert (first, len(calls)) == (3, 3)


def test_trials_of_a_former_version_are_starts_of_a_search_not_part_of_it(tmp_path):
    path = tmp_path / "study.json"
    tune(split(), 1.0, embedders=("spectral",), study=path)
    body = json.loads(path.read_bytes())
    for trial in body["trials"]:
        del trial["params"]["ridge"]
    body["trials"].append(body["trials"][0] | {"embedder": "gone"})
    path.write_text(json.dumps(body))
    after = tune(split(), 1.0, embedders=("spectral",), study=path)
    assert all("ridge" in trial.params for trial in after.trials)


def test_a_trial_that_would_overrun_is_pruned_with_the_reason():
    choice = tune(split(), 3.0, embedders=("mf",))
    late = [trial for trial in choice.trials if trial.note.startswith("would take")]
    assert all(trial.state == "pruned" for trial in late)
    assert {trial.state for trial in choice.trials} <= {"done", "pruned"}


def test_parameters_that_the_data_cannot_bear_make_a_failed_trial(monkeypatch):
    def broken(self, interactions, *, seed, device):
        raise RuntimeError("the factor is not positive definite")

    monkeypatch.setattr("engine.embedders.ials.IALS.fit", broken)
    choice = tune(split(), 0.5, embedders=("ials",))
    assert {trial.state for trial in choice.trials} == {"failed"}
    assert "not positive definite" in choice.trials[0].note


def test_the_best_trial_is_a_finished_one():
    trials = [
        Trial("spectral", {}, "pruned", 0.9, 0.9, 1.0),
        Trial("ease", {}, "done", 0.2, 0.4, 1.0),
        Trial("ials", {}, "failed", None, None, 1.0),
    ]
    assert best_trial(trials).embedder == "ease"
    assert best_trial(trials[:1]) is None


def test_twice_the_dimensions_must_be_worth_something():
    def done(dim, figure):
        return Trial("spectral", {"dim": dim}, "done", figure, figure, 1.0, dim=dim)

    narrow, wide, wider = done(512, 0.2), done(1024, 0.2195), done(2048, 0.22)
    assert smallest_near_best([narrow, wide, wider]) is wide
    assert smallest_near_best([narrow, done(1024, 0.2195), done(1024, 0.2197)]).figure == 0.2197
    assert smallest_near_best([narrow, done(2048, 0.23)]).dim == 2048
    assert smallest_near_best([Trial("ials", {}, "failed", None, None, 1.0)]) is None


def test_of_near_equals_one_whose_similar_items_are_much_worse_is_not_taken():
    def done(dim, figure, similar):
        return Trial("spectral", {"dim": dim}, "done", figure, figure, 1.0, dim=dim, similar=similar)

    narrow, wide = done(64, 0.2190, 0.03), done(512, 0.2200, 0.05)
    assert smallest_near_best([narrow, wide]) is wide
    assert smallest_near_best([done(64, 0.2190, 0.046), wide]).dim == 64  # as chance would have it
    assert smallest_near_best([done(64, 0.2, 0.06), wide]) is wide  # nor does it outweigh what is recommended
    assert Trial.from_json(narrow.to_json()) == narrow


def test_validation_scores_a_sample_where_there_are_many_users(monkeypatch):
    monkeypatch.setattr("engine.evaluation.validation_set.MAX_SCORES", 60)
    monkeypatch.setattr("engine.evaluation.validation_set.MIN_USERS", 10)
    on = validation_set(split(), seed=0)
    assert on.n_users == 10
    assert on.histories.shape == on.test.shape == (10, 60)
    assert on.histories.multiply(on.test).nnz == 0


def test_a_blend_has_an_mf_part_where_data_is_sparse_or_one_is_asked_for():
    sparse, dense = (1000, 1000, 10_000), (1000, 1000, 40_000)
    for params, expected in (({}, [DEFAULT_SPHERE_DIM, 0]), ({"sphere": 0}, [0, 0]), ({"sphere": 16}, [16, 16])):
        made = make("blend", params)
        assert [made.sphere_dim((users, items), cells) for users, items, cells in (sparse, dense)] == expected
    of_three = make("blend", {"dim": 2, "wide": 3}).fit(tastes(), seed=0, device="cpu")
    assert of_three.dim == 5  # no part that the data is too dense for
