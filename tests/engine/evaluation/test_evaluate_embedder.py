"""assess: every figure beside what must be beaten; compare: two models on the same users."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from engine.embedders.registry import make
from engine.embedders.training.device import free_gpu_bytes
from engine.errors import DeviceUnavailable, InputError
from engine.evaluation import segments
from engine.evaluation.evaluate_embedder import compare_embedders, evaluate_embedder, strong_generalisation
from engine.evaluation.ranking_metrics import Evaluation, evaluate_ranking
from engine.evaluation.significance import paired_test
from engine.fitting.memory_estimate import check_memory, estimate_bytes
from engine.values import splits
from engine.values.events import Weighting
from tests.engine.learning.test_auto_select_and_tune import split, tastes
from tests.engine.worlds import DAY_US, columns, interactions


def small():
    return make("spectral", {"dim": 4})


def test_an_assessment_has_all_figures_and_is_json():
    figures = evaluate_embedder(small(), split(), seed=0)
    assert set(figures) >= {"recall@20", "ndcg@20", "hit@20", "mrr@20", "coverage@20", "novelty@20", "strong"}
    assert set(figures["at"]) == {"5", "10", "20", "50"}
    assert figures["at"]["20"]["recall"] == figures["recall@20"]
    assert figures["at"]["5"]["recall"] < figures["at"]["50"]["recall"]
    assert set(figures["segments"]["items"]) == {"head", "tail"}
    assert figures["recall@20"] > figures["popularity"]["recall@20"]
    assert figures["similar"]["recall@20"] > 0.5
    assert figures["similar"]["item_knn"]["recall@20"] > 0.5
    assert "recent_popularity" not in figures  # nobody knows when
    assert figures["popularity_bias@20"] == pytest.approx(1, abs=0.3)  # everybody takes up what their taste has
    assert json.loads(json.dumps(figures))["n_users"] == 120


def test_users_never_seen_are_served_nearly_as_well_as_those_learnt_from():
    found = strong_generalisation(small(), tastes(n_users=300), seed=0)
    assert found["n_users"] == 30
    assert found["recall@20"] > 0.8
    assert strong_generalisation(small(), tastes(n_users=6), seed=0) is None


def test_too_little_data_is_noted():
    assert evaluate_embedder(small(), splits.at_random(tastes(), 0.0))["note"].startswith("too little data")
    assert compare_embedders(small(), small(), splits.at_random(tastes(), 0.0))["n_users"] == 0


def test_two_models_are_compared_on_the_same_users():
    same = compare_embedders(small(), small(), split())
    assert same["recall@20"] == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}
    apart = compare_embedders(small(), make("ials", {"dim": 1, "iterations": 1, "reg": 1000.0}), split())
    assert apart["recall@20"]["difference"] < 0
    assert apart["recall@20"]["p"] < 0.01
    assert apart["second"]["recall@20"] - apart["first"]["recall@20"] == pytest.approx(
        apart["recall@20"]["difference"], abs=2e-5
    )
    alone = evaluate_embedder(small(), split())
    assert {name: apart[name] for name in ("popularity", "item_knn")} == {
        name: alone[name] for name in ("popularity", "item_knn")
    }
    assert "recent_popularity" not in apart  # nobody knows when


def test_a_difference_by_chance_is_not_significant():
    draw = np.random.default_rng(0)
    first, second = draw.random(400), draw.random(400)
    assert paired_test(first, second)["p"] > 0.05
    assert paired_test(first, first + 0.1 * draw.random(400))["p"] < 0.001


def test_segments_have_the_users_and_items_of_their_names():
    train = interactions([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0]])
    made = Evaluation(
        2,
        np.array([0, 1, 2]),
        np.array([[3, 4], [1, 2], [2, 3]]),
        np.array([[True, False], [False, False], [False, True]]),
        np.array([1, 1, 2]),
        5,
    )
    by_user = segments.metrics_by_user_segment(made, train.matrix)
    assert by_user["cold"] == {"n_users": 1, "items": [1, 1], "recall@2": 0.0, "ndcg@2": 0.0}
    assert by_user["heavy"]["items"] == [3, 3]
    test = interactions([[0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0, 0, 1, 1, 0]]).matrix
    by_item = segments.recall_by_item_segment(made, train.matrix, test)
    assert by_item["head"] == {"n_items": 1, "n_users": 0, "recall@2": 0.0}
    assert by_item["tail"] == {"n_items": 4, "n_users": 3, "recall@2": 0.5}
    bias = segments.popularity_bias(made, train.matrix)
    assert bias["popularity_of_histories"] == pytest.approx((2 / 3 + 1 + 5 / 6) / 3, abs=1e-4)


def day(user, item, at):
    return (user, item, "view", 1.0, at * DAY_US)


def test_the_last_item_of_a_user_is_predicted_from_the_others():
    events = columns(
        [day("ann", "a", 1), day("ann", "b", 2), day("ann", "b", 3), day("ben", "a", 1), day("cid", "b", 9)]
    )
    divided = splits.leave_last_out(events, Weighting())
    ann = divided.train.users.row("ann")
    assert divided.test[ann].indices.tolist() == [divided.train.items.row("b")]
    assert divided.test.nnz == 1  # ben and cid have one item each, which is learnt from
    assert divided.train.matrix.nnz == 3


def test_recent_popularity_counts_the_last_weeks_alone():
    events = columns([day("ann", "old", 1), day("ben", "old", 1), day("cid", "new", 99), day("dan", "later", 100.5)])
    divided = splits.by_time(events, Weighting(), until_us=100 * DAY_US)
    counts = {id_: divided.train.recent_counts()[divided.train.items.row(id_)] for id_ in ("old", "new")}
    assert counts == {"old": 0, "new": 1}


RANX = """
import json, sys, warnings
warnings.simplefilter("ignore")
from ranx import Qrels, Run, evaluate
asked = json.load(sys.stdin)
print(json.dumps(dict(evaluate(Qrels(asked["wanted"]), Run(asked["answered"]), asked["names"]))))
"""


def test_figures_agree_with_an_independent_implementation():
    draw = np.random.default_rng(3)
    scores = draw.random((50, 80), dtype=np.float32)
    test = interactions(draw.random((50, 80)) < 0.1).matrix

    class Fixed:
        def scores(self, histories):
            return scores.copy()

    made = evaluate_ranking(Fixed(), sp.csr_matrix((50, 80), dtype=np.float32), test, 20)
    wanted = {f"u{row}": {f"i{column}": 1 for column in test[row].indices} for row in range(50) if test[row].nnz}
    answered = {name: {f"i{column}": float(scores[int(name[1:]), column]) for column in range(80)} for name in wanted}
    names = ["recall@20", "ndcg@20", "hit_rate@20", "mrr@20"]
    # a process of its own, interpreted: compiling takes ranx a quarter of a minute
    done = subprocess.run(
        [sys.executable, "-c", RANX],
        input=json.dumps({"wanted": wanted, "answered": answered, "names": names}),
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout)
    ours = [made.recall.mean(), made.ndcg.mean(), made.hit.mean(), made.mrr.mean()]
    assert ours == pytest.approx([theirs[name] for name in names], abs=1e-6)


def test_a_fit_that_would_not_fit_into_memory_is_refused_before_it_starts(monkeypatch):
    world = tastes()
    check_memory(small(), world)

    class Free:
        available = 2**30

    monkeypatch.setattr("engine.fitting.memory_estimate.psutil.virtual_memory", lambda: Free)
    huge = estimate_bytes(make("spectral", {"dim": 1024}), (10**6, 10**6), 10**7)
    assert huge > 2**30
    monkeypatch.setattr("engine.fitting.memory_estimate.estimate_bytes", lambda made, shape, n: made.dim * 2**24)
    with pytest.raises(InputError, match=r"ials needs about 8\.0 GiB .* are free; dim 5\d would fit"):
        check_memory(make("ials", {"dim": 512}), world)


def test_free_gpu_memory_is_checked_too():
    world, embedder = tastes(), make("mf", {"dim": 4096})
    needed = estimate_bytes(embedder, world.matrix.shape, world.matrix.nnz)
    check_memory(embedder, world, "cuda", free=int(1.2 * needed))
    told = r"mf needs about .* for 120 users and 60 items, .* are free on cuda; dim (\d+) would fit"
    with pytest.raises(InputError, match=told) as refused:
        check_memory(embedder, world, "cuda", free=needed // 2)
    fits = int(re.search(told, str(refused.value))[1])
    check_memory(make("mf", {"dim": fits}), world, "cuda", free=needed // 2)
    with pytest.raises(InputError, match=f"dim {fits} would fit"):
        check_memory(make("mf", {"dim": fits + 8}), world, "cuda", free=needed // 2)
    with pytest.raises(InputError, match="no dim would fit; use fewer events or a larger GPU, or --device cpu"):
        check_memory(embedder, world, "cuda", free=1000)


def test_the_memory_error_of_a_cpu_does_not_mention_a_gpu():
    with pytest.raises(InputError, match=r"are free; no dim would fit; use fewer events or a larger machine$"):
        check_memory(small(), tastes(), free=1000)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_the_memory_of_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(DeviceUnavailable, match="torch sees no GPU here"):
        check_memory(small(), tastes(), "cuda")
    with pytest.raises(InputError, match="expected a device of cpu or cuda, got 'tpu'"):
        check_memory(small(), tastes(), "tpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="for machines with a GPU")
def test_free_gpu_memory_shrinks_by_an_allocation():
    before = free_gpu_bytes("cuda")
    taken = torch.empty(2**26, dtype=torch.uint8, device="cuda")
    assert before - free_gpu_bytes("cuda") >= len(taken)


def test_the_estimate_of_a_blend_counts_all_its_parts():
    shape = (10**6, 10**5)
    alone, without, whole, deep = (
        estimate_bytes(make(name, params), shape, 10**7)
        for name, params in [
            ("spectral", {"dim": 512}),
            ("blend", {"dim": 512, "sphere": 0}),
            ("blend", {"dim": 512}),
            ("blend", {"dim": 512, "sphere": 1024}),
        ]
    )
    assert alone == without < whole < deep
    assert deep > 4 * 4 * 1024 * sum(shape)  # its two tables, each with a gradient and two moments
