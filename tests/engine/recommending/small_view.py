"""A view of six items over real indexes, and one request to it at a time."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine.behaviour.behaviour import no_behaviour
from engine.catalogue.predicate import AllOf
from engine.latent_space.fold_in import LinearFoldIn
from engine.recommending.pipeline import recommend
from engine.recommending.values.request import Request
from engine.values.events import History, Weighting
from engine.values.ids import IdMap
from indexing.generations.generation import MetricSearcher
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import normalise_rows

VECTORS = np.array([[2, 0], [1, 0], [0, 1], [0, 3]], np.float32)  # cup and mug, hat and cap
WEIGHTING = Weighting(repeat="binary")


@dataclass(frozen=True, eq=False)
class SmallView:
    """Four items with vectors, one of the catalogue without, and one too new to have a row."""

    allowed: Any = None
    filtered: bool = False
    items: IdMap = field(default_factory=lambda: IdMap(["cup", "mug", "hat", "cap", "pen", "new"]))
    n_learnt: int = 4
    n_vectors: int = 4
    n_built: int = 5
    longest_length: float = 3.0
    dim: int = 2
    users: Any = None
    fold_in: Any = field(default_factory=lambda: LinearFoldIn(VECTORS, np.ones(4, np.float32), np.ones(2, np.float32)))
    users_to_items: Any = field(default_factory=lambda: MetricSearcher(ExactSearcher(VECTORS), "dot"))
    items_to_items: Any = field(
        default_factory=lambda: MetricSearcher(ExactSearcher(normalise_rows(VECTORS)), "cosine")
    )
    most_popular: Any = field(default_factory=lambda: np.array([3, 0, 1, 2, 4, 5]))
    popularity: Any = field(default_factory=lambda: np.array([0.8, 0.5, 0.2, 1.0, 0.0, 0.0], np.float32))
    behaviour: Any = field(default_factory=lambda: no_behaviour(6))
    newest: Any = field(default_factory=lambda: np.arange(5, -1, -1))
    levels: Any = None  # of min_score
    fields: Any = field(default_factory=dict)  # field -> row -> values

    def vector(self, row):
        return VECTORS[row] if row < 4 else None

    def similarity_vector(self, row):
        return self.vector(row)

    def similarity_vectors(self, rows):
        vectors = [self.vector(row) for row in rows]
        return np.array([np.zeros(self.dim) if each is None else each for each in vectors], np.float32)

    def field_values(self, field, rows):
        return [self.fields.get(field, {}).get(row, frozenset()) for row in rows]

    def rows_of_groups(self, field, groups):
        values = self.field_values(field, range(len(self.items)))
        return [[row for row, each in enumerate(values) if each == group] for group in groups]

    def numbers(self, field, *, is_time=False):
        values = self.fields.get(field, {})
        return np.array([next(iter(values.get(row, ())), np.nan) for row in range(len(self.items))], float)

    def score_levels(self, index):
        return self.levels

    def search_boosted(self, index, vector, k, boost, excluded):
        return None

    def kept(self, key, of, compute):
        return compute()

    def to_similarity_vector(self, vector):
        return vector

    def without_values(self, field, values):
        return self.among([row for row in range(len(self.items)) if not self.field_values(field, [row])[0] & values])

    def among(self, rows):
        passing = np.isin(np.arange(len(self.items)), list(rows))
        return replace(self, allowed=passing if self.allowed is None else passing & self.allowed, filtered=True)

    def where(self, predicate):
        """In place of a predicate, a tuple of ids that pass."""
        if isinstance(predicate, AllOf):
            view = self
            for part in predicate.parts:
                view = view.where(part)
            return view
        passing = np.array([self.items.ids[row] in predicate for row in range(len(self.items))])
        return replace(self, allowed=passing if self.allowed is None else passing & self.allowed, filtered=True)


def history(*item_ids, kind="view"):
    n = len(item_ids)
    return History(item_ids, (kind,) * n, np.ones(n, np.float32), np.zeros(n, np.int64))


def answer_to(view, *, weighting=WEIGHTING, now_us=0, **request):
    [answer] = recommend(view, [Request(**request)], weighting=weighting, now_us=now_us)
    return answer
