"""The tuner chooses the cheapest measured recipe that meets the target, and returns the curve."""

import time

import faiss
import numpy as np
import pyarrow as pa
import pytest

from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import LatentSpace
from engine.store import generations, items, models, users
from engine.values.ids import IdMap
from engine.values.vectors import Vectors
from indexing.building.build import build_generation
from indexing.generations.generation import open_generation
from indexing.recipes import recipe, tuner
from indexing.recipes.recipe import EXACT_ROWS, TARGET, Recipe, meets_target
from indexing.recipes.tuner import GRAPH, tune
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_searcher import Int8Searcher
from indexing.searchers.metric import normalise_rows
from indexing.searchers.recall import FLOOR, recall

N, DIM, N_USERS = 20_200, 16, 300
POINT = {"factory", "effort", "recall", "surely", "latency_us", "projected_us", "build_s"}


def clustered(n, seed):
    """Vectors around 300 tastes of 20 departments; the seed changes the vectors, not the tastes."""
    world, draw = np.random.default_rng(3), np.random.default_rng(seed)
    tastes = world.standard_normal((20, DIM))[world.integers(0, 20, 300)] + 0.6 * world.standard_normal((300, DIM))
    return np.asarray(tastes[draw.integers(0, 300, n)] + 0.4 * draw.standard_normal((n, DIM)), np.float32)


@pytest.fixture(scope="module")
def vectors():
    return normalise_rows(clustered(N, 0))


@pytest.fixture(scope="module")
def queries():
    return normalise_rows(clustered(N_USERS, 1))


@pytest.fixture(autouse=True)
def less_is_tried(monkeypatch):
    """Try one number of lists, no graph of all rows and fewer queries, without a time limit."""
    for name, value in {"LISTS": (1.0,), "GRAPH_BUILD_S": 0.0, "GRAPH_TRIAL": 500, "N_QUERIES": 100}.items():
        monkeypatch.setattr(tuner, name, value)
    monkeypatch.setattr(tuner, "BUDGET_S", 600.0)


def cheapest(curve):
    good = [point for point in curve if meets_target(point["recall"], point["surely"])]
    return min(good, key=lambda point: point["projected_us"])


def test_the_choice_is_the_cheapest_point_of_the_curve_that_surely_meets_the_target(vectors, queries):
    threads = faiss.omp_get_max_threads()
    chosen, curve = tune(vectors, queries)
    assert chosen == Recipe(cheapest(curve)["factory"])
    assert (curve[0]["factory"], curve[0]["recall"], curve[0]["surely"]) == ("Flat", 1.0, 1.0)
    assert [point["factory"].split(",")[-1] for point in curve[1:]] == list(tuner.CODES)
    for point in curve:
        assert point.keys() == POINT
        assert point["surely"] <= point["recall"] <= 1
        assert min(point["latency_us"], point["projected_us"]) > 0
    assert faiss.omp_get_max_threads() == threads


def test_what_is_cheap_and_misses_the_target_is_measured_and_not_chosen(vectors, queries, monkeypatch):
    monkeypatch.setattr(recipe, "effort_ladder", lambda index: [1])  # one list of 142
    chosen, curve = tune(vectors, queries)
    assert chosen == Recipe("Flat")
    assert len(curve) > 1
    assert max(point["surely"] for point in curve[1:]) < TARGET


def test_no_candidate_starts_after_the_budget(vectors, queries, monkeypatch):
    monkeypatch.setattr(tuner, "BUDGET_S", 0.0)
    chosen, curve = tune(vectors, queries)
    assert chosen == Recipe("Flat")
    assert [point["factory"] for point in curve] == ["Flat"]


def test_so_few_rows_that_exact_search_is_fast_are_not_measured(vectors, queries):
    assert tune(vectors[: EXACT_ROWS - 1], queries) == (Recipe("Flat"), ())


def learnt(database, space, vectors) -> int:
    """Save a model with an item for each vector and a few users; returns its version."""
    item_ids, user_ids = IdMap(f"i{row:05}" for row in range(N)), IdMap(f"u{row:03}" for row in range(N_USERS))
    nothing = pa.nulls(N, pa.string())
    catalogue = {"item_id": list(item_ids.ids), "title": nothing, "attributes": nothing}
    catalogue["categories"] = pa.nulls(N, pa.list_(pa.string()))
    with database.begin() as conn:
        items.bulk_merge(conn, space.key, pa.table(catalogue))
        people = pa.table({"user_id": list(user_ids.ids), "attributes": nothing[:N_USERS]})
        users.bulk_merge(conn, space.key, people)
        fold_in = LinearFoldIn(vectors, np.ones(N, np.float32), np.ones(DIM, np.float32))
        latent = LatentSpace(Vectors(item_ids, vectors), Vectors(user_ids, clustered(N_USERS, 2)), "cosine", fold_in)
        made = models.save(conn, space.key, embedder="made", params={}, space=latent, evaluation={}, publishable=True)
    return made.version


def test_a_generation_has_the_recipe_the_tuner_chose_with_its_curve_and_meets_the_floor(
    database, space, tmp_path, vectors, queries
):
    name = build_generation(database, space, learnt(database, space, vectors), tmp_path)
    with database.begin() as conn:
        described = generations.get(conn, space.key, name).manifest["indexes"]
    curve = described["metric"]["curve"]
    assert curve[0]["factory"] == "Flat"
    assert len(curve) > 1
    assert {index["factory"] for index in described.values()} == {cheapest(curve)["factory"]}
    opened = open_generation(tmp_path / space.name / name)
    assert opened.manifest["indexes"] == described
    for label, searcher in (("metric", opened.users_to_items), ("cosine", opened.items_to_items)):
        assert described[label]["recall@20"] >= FLOOR
        assert recall(searcher, ExactSearcher(vectors), queries) >= FLOOR


def test_a_generation_keeps_lists_of_codes_in_a_file_that_is_mapped(database, space, tmp_path, vectors, queries):
    name = build_generation(database, space, learnt(database, space, vectors), tmp_path, recipe="IVF64,int8")
    opened = open_generation(tmp_path / space.name / name)
    searcher, described = opened.items_to_items.inner, opened.manifest["indexes"]["cosine"]
    assert isinstance(searcher, Int8Searcher)
    assert (described["factory"], described["file"]) == ("IVF64,int8", "metric.int8.safetensors")
    assert not searcher.index.codes.flags.owndata
    assert recall(searcher, ExactSearcher(vectors), queries) >= FLOOR


@pytest.fixture
def few(monkeypatch, vectors):
    """Few vectors, so that a graph of all of them is built quickly."""
    monkeypatch.setattr(tuner, "EXACT_ROWS", 1_000)
    monkeypatch.setattr(tuner, "GRAPH_BUILD_S", 1e9)
    return vectors[:1_500]


@pytest.fixture
def graph_of_few(monkeypatch):
    """A function that sets by how much the measured latency of the trial graph is multiplied."""
    latency_us, slower = tuner._latency_us, [1.0]

    def latency(searcher, queries, threads):
        of_few = isinstance(getattr(searcher, "index", None), faiss.IndexHNSW) and len(searcher.vectors) == 500
        return latency_us(searcher, queries, threads) * (slower[0] if of_few else 1)

    monkeypatch.setattr(tuner, "_latency_us", latency)
    return lambda times: slower.__setitem__(0, times)


def test_a_graph_is_tried_for_a_cpu_only_as_a_gpu_does_not_search_it(few, graph_of_few):
    graph_of_few(1e-3)

    def tried(**options):
        chosen, points = tune(few, few[:20], **options)
        factories = [point["factory"] for point in points]
        assert chosen.factory in factories
        return factories

    assert tried(device="cpu")[-1] == GRAPH
    on_gpu = tried(device="cuda")
    assert "Flat" in on_gpu
    assert any(factory.startswith("IVF") for factory in on_gpu)
    assert not any(factory.startswith("HNSW") for factory in on_gpu)


def test_a_graph_of_all_rows_is_not_built_where_one_of_a_few_is_too_slow_already(few, graph_of_few):
    graph_of_few(1e3)
    _, points = tune(few, few[:20])
    assert len(points) > 1
    assert GRAPH not in [point["factory"] for point in points]


class Sleeping:
    """Takes `slow` seconds for each of the first searches and `quick` seconds for later ones."""

    def __init__(self, slow, quick, for_first=0):
        self.slow, self.quick, self.left = slow, quick, for_first

    def search(self, queries, k, allowed=None):
        self.left -= 1
        time.sleep(self.slow if self.left >= 0 else self.quick)
        return np.zeros((1, k), np.float32), np.zeros((1, k), np.int64)


def test_finalists_are_timed_in_turns_so_that_a_slow_moment_decides_nothing(queries):
    point = tuner.Point("", 1, 1.0, 1.0, 9e6, 9e6, 0.0)
    searchers = Sleeping(0, 0.02), Sleeping(0.1, 0.0002, for_first=8)  # a busy machine adds some milliseconds to each
    finalists = [tuner.Candidate(point, each, lambda us: 2 * us) for each in searchers]
    steady, disturbed = tuner._time_in_turns(finalists, queries[:21])
    assert disturbed < steady
    assert finalists[0].timed(disturbed).projected_us == 2 * disturbed
    assert finalists[0].timed(9e7).latency_us == 9e6
