"""View: what is served at one moment, as a shelf needs it. Implemented in `indexing.live.view`."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.latent_space.space import FoldIn
from engine.recommending.values.searcher import Mask, Scorer
from engine.values.ids import IdIndex
from engine.values.vectors import Matrix, Vectors


class View(Protocol):
    """What is served at one moment; see indexing.live.view.

    Rows below `n_learnt` are the columns of the fold-in, only rows below `n_vectors` can be found by a search, and rows
    from `n_built` on are items first heard of since the build.
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
    def fold_in(self) -> FoldIn | None: ...
    @property
    def users_to_items(self) -> Scorer | None:
        """By the metric of the space; takes raw user vectors."""

    @property
    def items_to_items(self) -> Scorer | None:
        """By how like items are; takes places."""

    def place(self, row: int) -> Matrix | None:
        """(n,), where an item is among those that `items_to_items` compares; None for an item that has no vector."""

    def placed(self, vector: Matrix) -> Matrix:
        """The place of a raw (dim,) vector."""
        ...

    @property
    def longest(self) -> float:
        """Length of the longest vector that the model made of an item."""
        ...

    def vector(self, row: int) -> Matrix | None:
        """(dim,), raw; None for an item that has none."""

    @property
    def dim(self) -> int: ...
    @property
    def users(self) -> Vectors | None:
        """As of the build."""

    @property
    def popular(self) -> npt.NDArray[np.int64]:
        """Every row, most popular first, what is given back or disliked more than taken up last."""
        ...

    @property
    def popularity(self) -> npt.NDArray[np.float32]:
        """Share of the most popular by row, below 0 for what is given back or disliked more."""
        ...

    @property
    def newest(self) -> npt.NDArray[np.int64]:
        """Every row, the one first heard of last first."""
        ...

    @property
    def allowed(self) -> Mask | None:
        """Rows that may be shown, (len(items),); None: all."""

    @property
    def filtered(self) -> bool:
        """Whether a filter decided on `allowed` too."""
        ...
