"""SearcherContract: exact and approximate search answer as brute force does, filtered or not."""

import faiss
import numpy as np
import pytest

from indexing.recipes.recipe import Recipe, build, with_filter_selftest
from indexing.searchers.approximate import SUBSET_ROWS, ApproximateSearcher
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_searcher import Int8Searcher
from indexing.searchers.metric import index_vectors, inverse_lengths, normalise_rows, query_vectors
from indexing.searchers.recall import GroundTruth, recall

N, DIM, K = 44_000, 8, 10


@pytest.fixture(scope="module")
def vectors():
    """Items around 200 tastes, of unit length."""
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((200, DIM))
    return normalise_rows((centres[draw.integers(0, 200, N)] + 0.4 * draw.standard_normal((N, DIM))).astype(np.float32))


@pytest.fixture(scope="module")
def queries(vectors):
    return np.ascontiguousarray(vectors[:: N // 64][:64])


@pytest.fixture(scope="module", params=["Flat", "IVF256,Flat", "IVF256,int8", "HNSW16,Flat"])
def built(request, vectors, queries):
    return build(Recipe(request.param), vectors, queries)


def brute_force(vectors, queries, k, allowed=None):
    """Scores (n, k), best first, of the allowed rows."""
    scores = queries @ vectors.T
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    return -np.sort(-scores, axis=1)[:, :k]


def mask(share, n=N, seed=1):
    allowed = np.zeros(n, dtype=bool)
    allowed[np.random.default_rng(seed).permutation(n)[: int(n * share)]] = True
    return allowed


def searched(factory) -> int:
    """The number of index searches that FAISS has counted."""
    return faiss.cvar.indexIVF_stats.nq if factory.startswith("IVF") else faiss.cvar.hnsw_stats.n1


def scanned(searcher, queries, allowed, monkeypatch) -> bool:
    """Whether a search read the int8 lists."""
    calls, (search, arrays) = [], searcher._compiled
    with monkeypatch.context() as patched:
        patched.setitem(
            searcher.__dict__, "_compiled", (lambda *arguments: (calls.append(1), search(*arguments)), arrays)
        )
        searcher.search(queries, K, allowed)
    return bool(calls)


class TestSearcherContract:
    def test_it_finds_nearly_what_brute_force_finds(self, built, vectors, queries):
        scores, rows = built.searcher.search(queries, K)
        assert scores.shape == rows.shape == (64, K)
        assert (scores.dtype, rows.dtype) == (np.float32, np.int64)
        expected = brute_force(vectors, queries, K)
        if built.recipe.factory == "Flat":
            assert scores == pytest.approx(expected, abs=1e-5)
        assert recall(built.searcher, ExactSearcher(vectors), queries, K) >= 0.95
        assert np.mean(scores >= expected - 1e-5) >= 0.95

    def test_scores_are_those_of_their_rows_best_first_and_no_row_comes_twice(self, built, vectors, queries):
        scores, rows = built.searcher.search(queries, K)
        assert scores == pytest.approx(np.einsum("qd,qkd->qk", queries, vectors[rows]), abs=1e-5)
        assert (np.diff(scores, axis=1) <= 0).all()
        assert all(len(set(row)) == K for row in rows.tolist())

    @pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
    def test_a_filtered_search_has_a_full_shelf_of_allowed_rows(self, built, vectors, queries, share):
        allowed = mask(share)
        scores, rows = built.searcher.search(queries, K, allowed)
        assert (rows >= 0).all()
        assert allowed[rows].all()
        found = np.mean(scores >= brute_force(vectors, queries, K, allowed) - 1e-5)
        assert found >= (0.95 if allowed.sum() > SUBSET_ROWS else 1.0)

    def test_a_filter_far_from_the_query_finds_the_best_allowed_rows(self, built, vectors, queries):
        seeds = vectors[:: N // 16][:16]
        department, found = (vectors @ seeds.T).argmax(axis=1), []
        for query in queries[:16]:
            allowed = np.isin(department, np.argsort(seeds @ query)[:10])  # not the six that suit the query most
            scores, rows = built.searcher.search(query[None], K, allowed)
            assert allowed[rows].all()
            found.append(np.mean(scores[0] >= np.sort((vectors @ query)[allowed])[-K] - 1e-5))
        assert np.mean(found) >= 0.9

    def test_filtered_queries_answer_alone_as_they_do_among_many(self, built, queries):
        allowed = mask(0.5)
        many, _ = built.searcher.search(queries, K, allowed)
        each = np.concatenate([built.searcher.search(query[None], K, allowed)[0] for query in queries])
        assert many == pytest.approx(each, abs=1e-5)

    def test_fewer_allowed_rows_than_asked_for_are_all_found(self, built, queries):
        allowed = np.zeros(N, dtype=bool)
        allowed[[5, 70, 43_999]] = True
        _, rows = built.searcher.search(queries[:2], K, allowed)
        assert [sorted(row[:3]) for row in rows.tolist()] == [[5, 70, 43_999]] * 2
        assert (rows[:, 3:] == -1).all()

    def test_nothing_allowed_is_nothing_found(self, built, queries):
        _, rows = built.searcher.search(queries[:2], K, np.zeros(N, dtype=bool))
        assert (rows == -1).all()

    def test_more_asked_for_than_there_is_gives_every_row_once(self, built, queries):
        _, rows = built.searcher.search(queries[:1], N + 5)
        assert sorted(rows[0, :N].tolist()) == list(range(N))
        assert (rows[0, N:] == -1).all()

    def test_one_query_answers_as_it_does_among_many(self, built, queries):
        many, _ = built.searcher.search(queries, K)
        one, _ = built.searcher.search(queries[3:4], K)
        assert one[0] == pytest.approx(many[3], abs=1e-5)

    def test_the_index_was_used_where_it_should_be(self, built, queries, monkeypatch):
        if built.index is None:
            assert isinstance(built.searcher, ExactSearcher)
            return
        if isinstance(built.searcher, Int8Searcher):
            used = [
                scanned(built.searcher, queries, allowed, monkeypatch) for allowed in (None, mask(0.5), mask(0.001))
            ]
            assert used == [True, True, False]
            return
        for allowed, uses in ((None, True), (mask(0.5), True), (mask(0.1), False)):
            before = searched(built.recipe.factory)
            built.searcher.search(queries, K, allowed)
            assert (searched(built.recipe.factory) > before) is uses


class TestApproximate:
    def test_a_recall_is_measured_and_its_effort_kept(self, vectors, queries):
        made = build(Recipe("IVF256,Flat"), vectors, queries)
        assert made.recall >= 0.99
        assert 1 < made.recipe.effort < 256
        assert ApproximateSearcher(made.index, vectors, 1).search(queries, K)[1].shape == (64, K)
        assert recall(ApproximateSearcher(made.index, vectors, 1), ExactSearcher(vectors), queries) < made.recall

    def test_a_query_that_got_too_few_from_the_index_is_answered_exactly(self):
        # one list of few rows far from the others: a search of one list finds fewer than asked for
        far = normalise_rows(
            np.tile(np.array([[1, 0, 0, 0]], np.float32), (10, 1)) + np.eye(10, 4, dtype=np.float32) * 1e-3
        )
        near = normalise_rows(np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32) * [0.01, 1, 1, 1])
        vectors = np.ascontiguousarray(np.vstack([far, near]), dtype=np.float32)
        index = faiss.index_factory(4, "IVF8,Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        k = min(index.invlists.list_size(one) for one in range(8)) + 1
        assert (index.search(vectors, k)[1] == -1).any()
        scores, rows = ApproximateSearcher(index, vectors, 1).search(vectors, k)
        assert (rows >= 0).all()
        assert scores.shape == (410, k)


class Fixed:
    """A searcher that returns fixed rows with a false score."""

    def __init__(self, rows, claimed=9.0):
        self.rows, self.claimed = np.array(rows, np.int64), claimed

    def search(self, queries, k, allowed=None):
        return np.full(self.rows.shape, self.claimed, np.float32), self.rows


LINE = np.array([[1.0], [0.9], [0.9], [0.9], [0.1]], np.float32)
QUERY = np.array([[1.0]], np.float32)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([0, 1], 1.0), ([0, 3], 1.0), ([2, 3], 1.0), ([0, 4], 0.5), ([0, -1], 0.5), ([4, -1], 0.0)],
)
def test_a_row_that_ties_with_the_last_true_one_counts_as_found(rows, expected):
    assert recall(Fixed([rows]), ExactSearcher(LINE), QUERY, k=2) == expected


def test_a_score_that_is_only_claimed_counts_for_nothing():
    assert recall(Fixed([[4, 4]], claimed=100.0), ExactSearcher(LINE), QUERY, k=2) == 0.0


def test_recall_over_fewer_rows_than_k_and_over_no_queries_is_whole():
    assert recall(ExactSearcher(LINE), ExactSearcher(LINE), QUERY, k=50) == 1.0
    assert recall(ExactSearcher(LINE), ExactSearcher(LINE), np.zeros((0, 1), np.float32)) == 1.0


def test_cosine_drops_the_length_and_dot_keeps_it():
    items = np.array([[3, 4], [0, 0], [0, 1]], np.float32)
    assert index_vectors(items, "cosine") == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, 1]]))
    assert np.array_equal(index_vectors(items, "dot"), items)
    assert query_vectors(items[:1], "cosine") == pytest.approx(np.array([[0.6, 0.8]]))
    assert items.tolist() == [[3, 4], [0, 0], [0, 1]]


def test_an_index_that_misses_rows_far_from_the_query_is_searched_exactly_with_a_filter(vectors, queries):
    index = faiss.index_factory(DIM, "IVF1024,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    lost = with_filter_selftest(ApproximateSearcher(index, vectors, 1))  # reads 43 rows: nowhere near enough
    assert not lost.filters
    allowed = mask(0.5)
    assert lost.search(queries, K, allowed)[0] == pytest.approx(brute_force(vectors, queries, K, allowed), abs=1e-5)


@pytest.mark.parametrize("size", [1e20, 1e-30])
def test_recall_of_wrong_answers_is_zero_for_vectors_of_any_length(size):
    draw = np.random.default_rng(0)
    vectors = (draw.standard_normal((500, 8)) * size).astype(np.float32)
    exact = ExactSearcher(vectors, inverse_lengths(vectors))
    queries = normalise_rows(draw.standard_normal((20, 8)).astype(np.float32))

    class Wrong:
        def search(self, queries, k, allowed=None):
            scores, rows = exact.search(-queries, k, allowed)
            return -scores, rows

    truth = GroundTruth(exact, queries)
    assert truth.recall(exact).mean == 1
    assert truth.recall(Wrong()).mean == 0
