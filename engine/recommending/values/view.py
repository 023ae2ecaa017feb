"""View: the snapshot from which a shelf is computed, as a protocol. Implemented in `indexing.live.view`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from engine.behaviour.behaviour import Behaviour
from engine.catalogue.item_values import Values
from engine.catalogue.predicate import Predicate
from engine.latent_space.space import FoldIn
from engine.recommending.values.boosts import Boost
from engine.recommending.values.searcher import Found, Mask, Scorer
from engine.values.ids import IdIndex
from engine.values.vectors import Matrix, Vectors

T = TypeVar("T")


class View(Protocol):
    """An immutable state of the catalogue and the model.

    Rows below `n_learnt` are the columns of the fold-in, only rows below `n_vectors` can be found by a search, and rows
    from `n_built` on are items added since the build.
    """

    @property
    def items(self) -> IdIndex: ...
    @property
    def n_learnt(self) -> int: ...
    @property
    def n_vectors(self) -> int: ...
    @property
    def n_built(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def fold_in(self) -> FoldIn | None: ...

    @property
    def users_to_items(self) -> Scorer | None:
        """Searches items by the metric of the space, with raw user vectors."""

    @property
    def items_to_items(self) -> Scorer | None:
        """Searches items by their similarity, with similarity vectors."""

    def score_levels(self, index: str) -> Mapping[str, float] | None:
        """The scores of `low`, `medium` and `high`, of `users_to_items` or `items_to_items`; None: not measured."""
        ...

    def search_boosted(
        self, index: str, vector: Matrix, k: int, boost: Boost, excluded: AbstractSet[int]
    ) -> Found | None:
        """Plain scores (1, m) and rows (1, m) of the `k` allowed rows with the best boosted scores, in no order.

        `excluded` rows do not count, but may be among those found.
        `index` is `users_to_items` or `items_to_items`. None: the index has no boosted search.
        """
        ...

    def similarity_vector(self, row: int) -> Matrix | None:
        """(n,), the vector by which an item is compared with items; None for an item that has no vector."""

    def similarity_vectors(self, rows: Sequence[int]) -> Matrix:
        """(len(rows), n); 0 for an item that has no vector."""
        ...

    def to_similarity_vector(self, vector: Matrix) -> Matrix:
        """The similarity vector of a raw (dim,) vector."""
        ...

    def field_values(self, field: str, rows: Sequence[int]) -> list[Values]:
        """The values of a catalogue field, as `Condition.field` names it, for each row; a list has several."""
        ...

    def rows_of_groups(self, field: str, groups: Sequence[Values]) -> list[list[int]]:
        """For each group, the rows whose values of the field are exactly these, at least one."""
        ...

    def numbers(self, field: str, *, is_time: bool = False) -> npt.NDArray[np.float64]:
        """(len(items),) the number of each item in a field, or its time in microseconds; NaN without one."""
        ...

    def kept(self, key: Hashable, of: tuple[object, ...], compute: Callable[[], T]) -> T:
        """`compute()`, kept by the key until an item changes or one of `of` changes. What it computes does not depend
        on filters: views with and without a filter share it.
        """
        ...

    @property
    def longest_length(self) -> float:
        """Length of the longest item vector of the model."""
        ...

    def vector(self, row: int) -> Matrix | None:
        """(dim,), raw; None for an item that has no vector."""

    @property
    def users(self) -> Vectors | None:
        """As of the build."""

    @property
    def most_popular(self) -> npt.NDArray[np.int64]:
        """Every row, the most popular first; items that users return or dislike more than they take come last."""
        ...

    @property
    def popularity(self) -> npt.NDArray[np.float32]:
        """By row, as a share of the most popular item; negative for items that users return or dislike more."""
        ...

    @property
    def behaviour(self) -> Behaviour:
        """What users did with the items, by row."""
        ...

    @property
    def newest(self) -> npt.NDArray[np.int64]:
        """Every row, the item added last first."""
        ...

    @property
    def allowed(self) -> Mask | None:
        """(len(items),): the rows that may be shown. None: all."""

    @property
    def filtered(self) -> bool:
        """Whether a filter is part of `allowed`."""
        ...

    def where(self, predicate: Predicate) -> View:
        """The view of the items that pass the predicate; the same mask as long as nothing changes."""
        ...

    def without_values(self, field: str, values: Values) -> View:
        """The view without the items that have one of these values in a field."""
        ...

    def among(self, rows: Sequence[int]) -> View:
        """The view of these rows alone, if it shows them."""
        ...
