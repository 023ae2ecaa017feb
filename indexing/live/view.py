"""LiveView: the immutable state that one request is answered from. The next view shares all unchanged parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from engine.behaviour.behaviour import Behaviour, no_behaviour
from engine.behaviour.popularity import PopularityRanking, rank_by_popularity
from engine.catalogue.field_numbers import field_numbers, number_of
from engine.catalogue.item_values import NO_VALUES, ItemValues, Values, changed_values, rows_of_groups, rows_with_any
from engine.catalogue.predicate import ItemFields, Predicate
from engine.codec.feature_codec import FeatureCodec
from engine.latent_space.space import FoldIn
from engine.merchandising.presets import NO_PRESETS, Presets
from engine.recommending.values.boosts import Boost
from engine.recommending.values.searcher import Found, Mask, Scorer
from engine.store.change_feeds.snapshots import Snapshot
from engine.store.spaces import Space
from engine.values.ids import IdIndex, IdMap
from engine.values.vectors import Matrix, Vectors
from indexing.generations.generation import Generation
from indexing.generations.refused_generation import RefusedGeneration
from indexing.live.boosted_search import search_boosted
from indexing.live.computed import Computed
from indexing.live.delta import Delta
from indexing.live.live_ids import LiveIds
from indexing.live.recall_sampler import RecallSampler
from indexing.searchers.filter_masks import FilterMasks, LiveItem
from indexing.searchers.metric import MeasurableScorer

EMPTY_IDS = IdMap(())
T = TypeVar("T")
MAX_FILTERED = 32  # cached filtered views, a byte per item each
NO_SNAPSHOT = Snapshot(1, 1)
NO_POPULARITY = rank_by_popularity(np.zeros(0))
NO_BEHAVIOUR = no_behaviour()


@dataclass(frozen=True, eq=False)
class LiveView:
    """A generation and the changes since. Rows: items of the generation, then items added since, in order of
    arrival."""

    space: Space
    generation: Generation | None = None
    allowed: Mask | None = None  # (len(items),) rows that may be shown; None: all rows
    changed: Mapping[int, LiveItem] = field(default_factory=dict)  # row -> current state
    new_rows: Mapping[str, int] = field(default_factory=dict)  # id -> row, in order of row; deleted items stay, hidden
    delta: Delta | None = None
    snapshot: Snapshot = NO_SNAPSHOT  # all changes up to it are included
    looked_at: float = -math.inf  # time.perf_counter() just before the snapshot was taken
    refused: RefusedGeneration | None = None  # set while an older generation is served, until the active one is rebuilt
    stale: bool = False  # PostgreSQL is unreachable: this is its last known state
    filtered: bool = False  # restricted by a filter, see `where`
    presets: Presets = NO_PRESETS  # the placements, pages, rules and segments of the space
    filters: FilterMasks = field(default_factory=lambda: FilterMasks(None))
    computed: Computed = field(default_factory=Computed)  # of this generation
    sampler: RecallSampler | None = None  # measures the recall of searches
    updated_popularity: PopularityRanking | None = None  # the current ranking, if it changed since the build
    updated_behaviour: Behaviour | None = None  # likewise

    @property
    def degraded(self) -> bool:
        return self.refused is not None

    def shows(self, seq: int, asked_at: float = -math.inf) -> bool:
        """Whether this view may answer a read with min_seq `seq` that arrived at `asked_at`, by time.perf_counter.

        A write gets its number when it begins, so a write with a lower number may end later. If one was running at the
        snapshot, it may have been acknowledged since; then only a snapshot taken after `asked_at` surely includes it.
        """
        return self.snapshot.includes(seq) and (seq < self.snapshot.xmin or self.looked_at >= asked_at)

    @cached_property
    def items(self) -> IdIndex:
        built = self.generation.items if self.generation else EMPTY_IDS
        return LiveIds(built, self.new_rows) if self.new_rows else built

    @property
    def n_vectors(self) -> int:
        if self.delta is not None:
            return len(self.items)
        return len(self.generation.vectors) if self.generation else 0

    @property
    def n_learnt(self) -> int:
        return len(self.generation.learnt) if self.generation else 0

    @property
    def fold_in(self) -> FoldIn | None:
        return self.generation.fold_in if self.generation else None

    @property
    def codec(self) -> FeatureCodec | None:
        return self.generation.codec if self.generation else None

    @property
    def users_to_items(self) -> Scorer | None:
        if self.delta is not None:
            return self._sampled(self.delta.users_to_items)
        return self._sampled(self.generation.users_to_items) if self.generation else None

    @property
    def items_to_items(self) -> Scorer | None:
        if self.delta is not None:
            return self._sampled(self.delta.items_to_items)
        return self._sampled(self.generation.items_to_items) if self.generation else None

    @property
    def longest_length(self) -> float:
        return float(self.generation.manifest["longest"]) if self.generation else 0.0

    def score_levels(self, index: str) -> Mapping[str, float] | None:
        manifest = self.generation.manifest if self.generation else {}
        return dict(manifest.get("score_levels", {})).get(index)

    def search_boosted(self, index: str, vector: Matrix, k: int, boost: Boost, excluded: Set[int]) -> Found | None:
        return search_boosted(getattr(self, index), vector, k, self.allowed, boost, excluded)

    def _sampled(self, searcher: MeasurableScorer) -> Scorer:
        return searcher if self.sampler is None else self.sampler.sampled(self.space.name, searcher)

    @property
    def dim(self) -> int:
        return int(self.generation.vectors.shape[1]) if self.generation else 0

    def vector(self, row: int) -> Matrix | None:
        """(dim,) raw; None for an item without a vector."""
        if self.delta is not None and row in self.delta.vectors:
            return self.delta.vectors[row]
        built = self.generation.vectors if self.generation else ()
        return np.asarray(built[row]) if row < len(built) else None

    def similarity_vector(self, row: int) -> Matrix | None:
        """(n,), the vector by which an item is compared with items; None for an item that has no vector."""
        if self.delta is None or row not in self.delta.vectors:
            built = self.generation.similarity_vectors.vectors if self.generation else ()
            return np.asarray(built[row]) if row < len(built) else None
        vector = self.delta.vectors[row]
        return None if vector is None else self.to_similarity_vector(vector)

    def similarity_vectors(self, rows: Sequence[int]) -> Matrix:
        """(len(rows), n), as `similarity_vector`; 0 for an item that has no vector."""
        if self.generation is None:
            return np.zeros((len(rows), 0), np.float32)
        built, at = self.generation.similarity_vectors.vectors, np.asarray(rows, np.int64)
        vectors = np.zeros((len(at), built.shape[1]), np.float32)
        is_built = (at >= 0) & (at < len(built))
        vectors[is_built] = built[at[is_built]]
        for place, row in enumerate(rows if self.delta is not None else ()):
            if self.delta is not None and row in self.delta.vectors:
                vector = self.similarity_vector(row)
                vectors[place] = 0 if vector is None else vector
        return vectors

    def to_similarity_vector(self, vector: Matrix) -> Matrix:
        """The similarity vector of a raw (dim,) vector."""
        return self.generation.similarity_vectors.transformed(vector[None])[0] if self.generation else vector

    def field_values(self, field: str, rows: Sequence[int]) -> list[Values]:
        """The current values of a field for each row."""
        values = self.generation.item_values.get(field).of_rows(rows) if self.generation else [NO_VALUES] * len(rows)
        for at, row in enumerate(rows if self.changed else ()):
            item = self.changed.get(row)
            if item is not None:
                values[at] = changed_values(field, item.facts.get(field))
        return values

    def rows_of_groups(self, field: str, groups: Sequence[Values]) -> list[list[int]]:
        """For each group, the rows whose current values of the field are exactly these, at least one."""
        return rows_of_groups(self._item_values(field), self.changed, field, groups)

    def _item_values(self, field: str) -> ItemValues | None:
        return self.generation.item_values.get(field) if self.generation else None

    def numbers(self, field: str, *, is_time: bool = False) -> npt.NDArray[np.float64]:
        """(len(items),) the current numbers, or times in microseconds, of a field; NaN without one."""
        numbers = np.full(len(self.items), np.nan)
        if self.generation is not None:
            numbers[: self.n_built] = field_numbers(self.generation.columns, field, is_time=is_time)
        for row, item in self.changed.items():
            numbers[row] = number_of(field, item.facts.get(field), is_time=is_time)
        return numbers

    def kept(self, key: Hashable, of: tuple[object, ...], compute: Callable[[], T]) -> T:
        """`compute()`, kept by the key until an item changes or one of `of` changes; views with a filter share it."""
        return self.computed.get(key, (self.changed, *of), compute)

    @property
    def users(self) -> Vectors | None:
        return self.generation.users if self.generation else None

    @property
    def n_built(self) -> int:
        return len(self.generation.items) if self.generation else 0

    @cached_property
    def popularity_ranking(self) -> PopularityRanking:
        """Popularity by row."""
        built = self.generation.popularity_ranking if self.generation else NO_POPULARITY
        return (built if self.updated_popularity is None else self.updated_popularity).extended(len(self.items))

    @cached_property
    def behaviour(self) -> Behaviour:
        built = self.generation.behaviour if self.generation else NO_BEHAVIOUR
        return (self.updated_behaviour or built).extended(len(self.items))

    @property
    def most_popular(self) -> npt.NDArray[np.int64]:
        return self.popularity_ranking.order

    @property
    def popularity(self) -> npt.NDArray[np.float32]:
        return self.popularity_ranking.shares

    @cached_property
    def newest(self) -> npt.NDArray[np.int64]:
        """All rows, newest item first."""
        built = self.generation.newest if self.generation else np.zeros(0, np.int64)
        return np.concatenate([np.arange(len(self.items) - 1, len(built) - 1, -1), built])

    @property
    def newcomers(self) -> list[str]:
        """Ids of items added since the build that may be shown."""
        return [id_ for id_, row in self.new_rows.items() if self.allowed is None or self.allowed[row]]

    @cached_property
    def _filtered(self) -> dict[Predicate, LiveView]:
        return {}

    def where(self, predicate: Predicate | None) -> LiveView:
        """The view of the items that pass the predicate. InputError as `FilterMasks.shown`."""
        if predicate is None:
            return self
        part = self._filtered.get(predicate)
        if part is None:
            part = self._part(self.filters.shown(predicate, self.changed, len(self.items), self.allowed))
            if not self.filtered:  # requests with the same filter share it
                if len(self._filtered) >= MAX_FILTERED:
                    self._filtered.clear()
                self._filtered[predicate] = part
        return part

    def among(self, rows: Sequence[int]) -> LiveView:
        """The view of these rows alone, if it shows them."""
        mask, at = np.zeros(len(self.items), dtype=bool), np.asarray(rows, np.int64)
        mask[at] = True if self.allowed is None else self.allowed[at]
        return self._part(mask)

    def without_values(self, field: str, values: Values) -> LiveView:
        """The view without the items that have one of these values in a field."""
        mask = np.ones(len(self.items), dtype=bool) if self.allowed is None else self.allowed.copy()
        mask[rows_with_any(self._item_values(field), self.changed, field, values)] = False
        return self._part(mask)

    def _part(self, allowed: Mask) -> LiveView:
        part = replace(self, allowed=allowed, filtered=True)
        for name in ("items", "popularity_ranking", "behaviour", "newest"):  # computed once for all parts
            part.__dict__[name] = getattr(self, name)
        return part

    def n_passing(self, predicate: Predicate) -> int | None:
        """The number of items that `where` keeps; None if it is not known yet."""
        part = self._filtered.get(predicate)
        return part._n_allowed if part is not None else self.filters.n_shown(predicate, self.changed, self.allowed)

    @cached_property
    def _n_allowed(self) -> int:
        return len(self.items) if self.allowed is None else int(np.count_nonzero(self.allowed))

    def unknown_fields(self, predicate: Predicate) -> frozenset[str]:
        """Attributes in a predicate that no item has."""
        return self.filters.unknown_fields(predicate, self.changed)

    @property
    def attributes(self) -> list[str]:
        """Names of attributes that items have."""
        return self.filters.attributes(self.changed)

    def fields(self, item_id: str, row: int) -> bytes:
        """The item's fields as JSON."""
        changed = self.changed.get(row)
        if changed is not None:
            return changed.fields
        return self.generation.fields(row) if self.generation and row >= 0 else b"{}"

    def facts(self, item_id: str) -> ItemFields | None:
        """The fields of an item by their names in conditions; None for an item that is not in the catalogue."""
        row = self.items.row(item_id)
        if row is None or row in self.changed:
            return None if row is None else self.changed[row].facts
        return self.generation.facts(row) if self.generation else None
