"""Int8 lists: their content, the products of the vector instructions, and searches compared with numpy."""

from concurrent.futures import ThreadPoolExecutor

import faiss
import numba
import numpy as np
import pytest

from engine.errors import CorruptGeneration
from indexing.recipes.recipe import Recipe, build
from indexing.searchers import int8_scan, simd_products
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_lists import BLOCK_ROWS, Int8Lists, build_int8_lists, read_only_contiguous
from indexing.searchers.int8_searcher import PARALLEL_QUERIES, Int8Searcher
from indexing.searchers.metric import inverse_lengths, normalise_rows, scale
from indexing.searchers.recall import GroundTruth
from indexing.searchers.simd_products import code_scores, lowest_bit, row_scores

DIMS = (1, 2, 3, 31, 64, 2304)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def decoded(lists: Int8Lists, dim: int):
    """(n_rows, dim) rows decoded from the lists."""
    differences = lists.codes.transpose(0, 2, 1, 3).reshape(len(lists.ids), -1) * lists.scales.reshape(-1, 1)
    there = lists.ids >= 0
    made = np.zeros((there.sum(), dim), np.float32)
    made[lists.ids[there]] = differences[there, :dim]
    return made + lists.list_centroids(dim)[lists.list_of]


@pytest.mark.parametrize("dim", DIMS)
def test_every_row_is_in_the_list_it_suits_best_and_comes_back_within_half_a_step(dim):
    vectors, centroids = drawn(500, dim), drawn(7, dim, seed=1)
    lists = build_int8_lists(vectors, None, centroids)
    assert sorted(lists.ids[lists.ids >= 0]) == list(range(500))
    assert np.array_equal(lists.list_centroids(dim), centroids)
    products = vectors @ centroids.T
    assert products[np.arange(500), lists.list_of] == pytest.approx(products.max(axis=1), abs=1e-4)
    assert lists.sizes.tolist() == np.bincount(lists.list_of, minlength=7).tolist()
    steps = np.abs(vectors - centroids[lists.list_of]).max(axis=1, keepdims=True) / 127
    assert (np.abs(decoded(lists, dim) - vectors) <= 0.51 * steps + 1e-6).all()


def test_a_list_begins_at_a_whole_block_and_may_be_empty():
    vectors = np.concatenate([np.full((33, 2), 1.0), np.full((2, 2), -1.0)]).astype(np.float32)
    lists = build_int8_lists(vectors, None, np.array([[1, 1], [9, -9], [-1, -1]], np.float32))
    assert lists.starts.tolist() == [0, 2, 2, 3]
    assert lists.sizes.tolist() == [33, 0, 2]
    assert lists.ids.reshape(-1, BLOCK_ROWS)[1].tolist() == [32] + [-1] * 31
    assert lists.ids.reshape(-1, BLOCK_ROWS)[2].tolist() == [33, 34] + [-1] * 30


@pytest.fixture(params=["+avx2", "+nothing"])
def instructions(request, monkeypatch):
    """With AVX2 and without."""
    monkeypatch.setattr(simd_products, "AVX2", request.param)


def test_scores_of_codes_are_exact_sums_with_and_without_avx2(instructions):
    @numba.njit
    def scored(query, codes, scales, start, more, least, scores):
        return code_scores(
            query.ctypes.data, codes.ctypes.data, len(query), scales.ctypes.data, start, more, least, scores.ctypes.data
        )

    draw = np.random.default_rng(0)
    for dim in (2, 64, 2304):
        query = draw.integers(-(2**14), 2**14, dim).astype(np.int16) // (1 + dim // 512)
        codes = draw.integers(-127, 128, (BLOCK_ROWS, dim)).astype(np.int8)
        query[:2], codes[:, :2] = query[:2] * 0 + query.max(), 127  # nothing overflows
        scales, scores = draw.random(BLOCK_ROWS).astype(np.float32), np.empty(BLOCK_ROWS, np.float32)
        laid = np.ascontiguousarray(codes.reshape(BLOCK_ROWS, dim // 2, 2).transpose(1, 0, 2))
        expected = 0.5 + scales * (codes.astype(np.int64) @ query.astype(np.int64) + 700)
        least = np.float32(np.median(expected))
        bits = scored(query, laid, scales, np.float32(0.5), np.int32(700), least, scores)
        assert scores == pytest.approx(expected, rel=1e-6)
        assert [bits >> row & 1 for row in range(BLOCK_ROWS)] == (scores > least).tolist()


def test_scores_of_rows_are_their_products_and_bits_are_found_from_the_lowest():
    @numba.njit
    def scored(query, rows, least, scores):
        bits = row_scores(query.ctypes.data, rows.ctypes.data, len(query), least, scores.ctypes.data)
        return bits, lowest_bit(bits)

    query, rows, scores = drawn(66), drawn(BLOCK_ROWS, 66, seed=1), np.empty(BLOCK_ROWS, np.float32)
    least = np.float32(np.sort(rows @ query)[-3])
    bits, first = scored(query, np.ascontiguousarray(rows.T), least, scores)
    assert scores == pytest.approx(rows @ query, abs=1e-4)
    above = np.flatnonzero(scores > least)
    assert ([bits >> row & 1 for row in above], bin(bits).count("1")) == ([1] * len(above), len(above))
    assert first == above[0]


@pytest.mark.parametrize("dim", DIMS)
def test_all_lists_read_find_what_exact_search_finds_of_raw_vectors(dim):
    vectors, queries = 3 * drawn(900, dim), drawn(20, dim, seed=1)
    for factors in (None, inverse_lengths(vectors)):
        searcher = Int8Searcher(build_int8_lists(vectors, factors, scale(vectors, factors)[:9]), vectors, 9, factors)
        exact = ExactSearcher(vectors, factors)
        assert GroundTruth(exact, queries).recall(searcher).mean >= 0.98
        scores, rows = searcher.search(queries, 20)
        assert scores == pytest.approx(exact.scores(queries, rows), rel=1e-5, abs=1e-5)


def test_an_array_of_a_caller_is_read_however_it_lies_and_never_written_to():
    vectors = drawn(900, 8)
    searcher = Int8Searcher(build_int8_lists(vectors, None, vectors[:9]), vectors, 9)
    queries = vectors[:5].copy()
    expected = searcher.search(queries, 10)[1]
    fixed = queries.copy()
    fixed.flags.writeable = False
    for asked in (fixed, np.asfortranarray(queries), np.repeat(queries, 2, axis=0)[::2], queries.astype(np.float64)):
        assert np.array_equal(searcher.search(asked, 10)[1], expected)
    assert vectors.flags.writeable
    with pytest.raises(ValueError, match="expected queries of 8 dimensions, got 7"):
        searcher.search(vectors[:1, :7], 10)


@pytest.mark.parametrize("query", [np.zeros(4), np.full(4, np.nan), np.full(4, np.inf), np.full(4, 1e-38)])
def test_a_query_of_zeros_nan_or_infinity_still_gets_k_rows(query):
    vectors = drawn(2000, 4)
    searcher = Int8Searcher(build_int8_lists(vectors, None, vectors[:20]), vectors, 2)
    with np.errstate(all="ignore"):
        _, rows = searcher.search(query[None].astype(np.float32), 20)
    assert len(set(rows[0])) == 20


@pytest.mark.parametrize("number", [1e25, 1e-25])
def test_a_query_far_from_unit_length_finds_what_one_of_its_direction_finds(number):
    vectors, query = drawn(3000, 16), drawn(1, 16, seed=2)
    searcher = Int8Searcher(build_int8_lists(vectors, None, vectors[:20]), vectors, 20)
    scores, rows = searcher.search((query * number).astype(np.float32), 10)
    expected, same = ExactSearcher(vectors).search(query, 10)
    assert np.array_equal(rows, same)
    assert scores / number == pytest.approx(expected, rel=1e-4)


def test_equal_items_and_zero_items_come_once_each():
    vectors = np.concatenate([np.tile(drawn(1, 6), (500, 1)), np.zeros((500, 6), np.float32)])
    searcher = Int8Searcher(build_int8_lists(vectors, None, vectors[[0, 999]]), vectors, 2)
    scores, rows = searcher.search(vectors[:1], 40)
    assert (len(set(rows[0])), (rows[0] < 500).all()) == (40, True)
    assert scores == pytest.approx(np.full((1, 40), vectors[0] @ vectors[0]), rel=1e-5)


def test_threads_answer_as_one_does():
    vectors = normalise_rows(drawn(8000, 16))
    searcher = build(Recipe("IVF80,int8"), vectors, vectors[:100]).searcher
    allowed = np.random.default_rng(1).random(8000) < 0.5
    expected = searcher.search(vectors[:200], 20, allowed)[1]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: searcher.search(vectors[row : row + 1], 20, allowed)[1][0], range(200)))
    assert np.array_equal(found, expected)


def test_more_lists_are_read_when_the_nearest_hold_few_allowed_rows():
    vectors = normalise_rows(drawn(9000, 8))
    lists = build_int8_lists(vectors, None, vectors[:300])
    held = np.zeros(300, np.int64)
    by_list = np.argsort(-(vectors[:1] @ vectors[:300].T)[0])
    held[by_list[10:150]], held[by_list[150:]] = 1, 50  # nothing in the nearest
    near, numbers, n = int8_scan._lists_to_read(
        vectors[0].copy(), lists.centroids, read_only_contiguous(held), 4, 200, True
    )
    assert numbers[:n].tolist() == by_list[10:152].tolist()
    assert near[:n] == pytest.approx(vectors[by_list[10:152]] @ vectors[0], abs=1e-5)
    for n_held, expected in ((140, 140), (141, 141), (10**9, 290)):
        assert (
            int8_scan._lists_to_read(vectors[0].copy(), lists.centroids, read_only_contiguous(held), 4, n_held, True)[2]
            == expected
        )
    assert int8_scan._lists_to_read(vectors[0].copy(), lists.centroids, read_only_contiguous(held), 7, 0, False)[2] == 7


def recall_of(searcher, vectors, queries, k=20, allowed=None):
    return GroundTruth(ExactSearcher(vectors), queries, k, allowed).recall(searcher).mean


def test_many_items_that_are_nearly_the_same_are_told_apart():
    base = drawn(200, 16).repeat(60, axis=0)  # sixty sizes and colours of each
    vectors = normalise_rows(base + 0.005 * drawn(len(base), 16, seed=1))[np.random.default_rng(2).permutation(12_000)]
    searcher = Int8Searcher(build_int8_lists(vectors, None, vectors[:100]), vectors, 4)
    assert recall_of(searcher, vectors, vectors[:200]) > 0.98


@pytest.mark.parametrize("k", [1, 5, 100, 1000])
def test_more_or_fewer_than_the_effort_was_found_for_are_found_as_well(k):
    draw = np.random.default_rng(0)
    tastes = draw.standard_normal((200, 32))
    vectors = normalise_rows(
        (tastes[draw.integers(0, 200, 30_000)] + 0.4 * draw.standard_normal((30_000, 32))).astype(np.float32)
    )
    made = build(Recipe("IVF340,int8"), vectors, vectors[:300])
    assert recall_of(made.searcher, vectors, vectors[-100:], k) > 0.98


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3, 0.5])
def test_the_best_of_a_department_are_found_for_whoever_asks(share):
    draw = np.random.default_rng(0)
    tastes, taste = draw.standard_normal((200, 32)), draw.integers(0, 200, 30_000)
    vectors = normalise_rows((tastes[taste] + 0.4 * draw.standard_normal((30_000, 32))).astype(np.float32))
    made = build(Recipe("IVF340,int8"), vectors, vectors[:300])
    for _ in range(3):
        allowed = np.isin(taste, draw.permutation(200)[: int(200 * share)])
        assert made.searcher.plan(allowed).subset is None
        assert recall_of(made.searcher, vectors, vectors[-60:], allowed=allowed) > 0.97


def test_a_row_with_nan_or_infinity_does_not_hide_other_rows():
    vectors = drawn(3000, 8)
    vectors[5], vectors[700, 3] = np.nan, np.inf
    with np.errstate(all="ignore"):
        searcher = Int8Searcher(build_int8_lists(vectors, None, drawn(30, 8, seed=3)), vectors, 30)
    good = np.delete(np.arange(3000), [5, 700])
    _, rows = searcher._scan(vectors[:20], 20, None)
    best = np.argsort(-(vectors[:20][good[:19]] @ vectors[good].T), axis=1)[:, :20]
    found = [np.isin(good[each], rows[at]).mean() for at, each in zip(good[:19], best, strict=True)]
    assert np.mean(found) > 0.95


def test_many_queries_are_shared_out_among_threads():
    vectors = normalise_rows(drawn(4000, 16))
    searcher = Int8Searcher(build_int8_lists(vectors, None, vectors[:60]), vectors, 8)
    threads, expected = faiss.omp_get_max_threads(), searcher.search(vectors[:20], 10)[1]
    try:
        found = []
        for number in (1, 3):
            faiss.omp_set_num_threads(number)
            found.append(searcher.search(vectors[: 3 * PARALLEL_QUERIES + 5], 10)[1])
    finally:
        faiss.omp_set_num_threads(threads)
    assert np.array_equal(*found)
    assert np.array_equal(found[0][:20], expected)


def test_lists_of_other_vectors_are_not_searched():
    vectors = drawn(900, 8)
    lists = build_int8_lists(vectors, None, vectors[:9])
    lists.check(900, 8)
    wrong = [(lists, 899, 8), (lists, 901, 8), (lists, 900, 10)]
    for name, value in {"starts": lists.starts + 1, "scales": lists.scales[1:], "ids": lists.ids * 0}.items():
        wrong.append((Int8Lists(**{**lists.state(), name: value}), 900, 8))
    for each, n_rows, dim in wrong:
        with pytest.raises(CorruptGeneration, match="expected lists of"):
            each.check(n_rows, dim)


def test_every_loop_is_compiled_for_one_array_type():
    for made in (
        int8_scan.search,
        int8_scan._scan_lists,
        int8_scan._nearest_lists,
        int8_scan._keep_best,
        int8_scan._kth_largest,
        int8_scan._drop_impossible,
        int8_scan._sift_down,
    ):
        assert len(made.signatures) <= 1
