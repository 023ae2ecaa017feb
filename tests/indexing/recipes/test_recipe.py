"""Recipes: chosen by size, refused by name, held to their floor."""

import faiss
import numpy as np
import pytest

from engine.errors import BelowFloor, DeviceUnavailable, InputError
from indexing.recipes.recipe import Recipe, build, choose


def random_vectors(n, dim=16):
    return np.random.default_rng(0).standard_normal((n, dim)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "n_rows", "factory"),
    [
        ("auto", 0, "Flat"),
        ("auto", 19_999, "Flat"),
        ("auto", 20_000, "IVF512,Flat"),
        ("auto", 1_000_000, "IVF4096,Flat"),
        ("flat", 1_000_000, "Flat"),
        ("FLAT", 5, "Flat"),
        ("hnsw", 5, "HNSW32,Flat"),
        ("ivf", 5, "Flat"),
        ("ivf", 4_000, "IVF102,Flat"),
        ("IVF64,SQ8", 4_000, "IVF64,SQ8"),
        ("IVF64,int8", 4_000, "IVF64,int8"),
    ],
)
def test_a_recipe_is_chosen_by_name_and_size(name, n_rows, factory):
    assert choose(name, n_rows) == Recipe(factory)


@pytest.mark.parametrize("name", ["", "magic", "PQ8", "Flat,IVF", "../x"])
def test_an_unknown_recipe_is_told_with_those_there_are(name):
    with pytest.raises(InputError, match="expected a recipe of auto, flat, ivf, hnsw, cagra or a FAISS factory string"):
        choose(name, 1000)


@pytest.mark.parametrize(
    "factory", ["IVFx", "IVF4,Nope", "HNSWx,Flat", "IVF5000,Flat", "IVF5000,int8", "IVF0,int8", "IVF4,PQ7"]
)
def test_a_factory_string_that_faiss_cannot_build_is_told_in_one_sentence(factory):
    vectors = random_vectors(500)
    with pytest.raises(InputError) as told:
        build(choose(factory, 500), vectors, vectors[:10])
    assert factory in str(told.value)
    assert "\n" not in str(told.value)


def test_lists_that_only_the_cpu_searches_are_not_built_for_a_gpu():
    with pytest.raises(InputError, match="IVF64,int8 is searched on the CPU alone; use --device cpu, or SQ8 for int8"):
        choose("IVF64,int8", 4_000, "cuda")


def test_a_recipe_below_the_floor_is_refused_with_what_it_found():
    vectors = random_vectors(2000, 32)
    with pytest.raises(
        BelowFloor, match=r"IVF32,PQ2x4 found \d+\.\d% of the true top 20, expected at least 95\.0%; raise"
    ):
        build(Recipe("IVF32,PQ2x4"), vectors, vectors[:50])
    with pytest.raises(BelowFloor):
        build(Recipe("IVF32,Flat", effort=1), vectors, vectors[:50])


def test_an_asked_for_effort_is_kept():
    vectors = random_vectors(2000, 8)
    made = build(Recipe("IVF16,Flat", effort=16), vectors, vectors[:50])
    assert (made.recipe.effort, made.recall) == (16, 1.0)


def test_a_gpu_that_is_not_there_is_an_error():
    gpus = getattr(faiss, "get_num_gpus", int)()
    with pytest.raises(DeviceUnavailable, match=f"cuda:{gpus} was requested, but FAISS sees {gpus or 'no'} GPU"):
        choose("auto", 100, f"cuda:{gpus}")


def test_the_vectors_and_queries_of_a_build_are_left_as_they_were():
    vectors = random_vectors(1000)
    before = vectors.copy()
    build(Recipe("HNSW16,Flat"), vectors, vectors[:20])
    assert np.array_equal(vectors, before)
