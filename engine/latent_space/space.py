"""LatentSpace, the result of an embedder's `fit`, and the protocols of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.values.vectors import Matrix, Vectors

if TYPE_CHECKING:
    from engine.values.interactions import Interactions

Metric = Literal["cosine", "dot"]
FoldInName = Literal["linear", "sum", "two_tables", "perceptron", "least_squares"]  # of `engine.latent_space.fold_in`


class FoldIn(Protocol):
    """history -> user vector. Pure numpy: the server folds in without torch."""

    def vectors(self, histories: sp.csr_matrix) -> Matrix:
        """(n_users, n_items) float32 cell weights -> (n_users, dim) float32; an empty row gives a zero row."""
        ...

    def state(self) -> tuple[str, Mapping[str, npt.NDArray[np.float32]]]:
        """The name and arrays from which `engine.latent_space.fold_in.restore(name, items, arrays)` restores it."""
        ...


class Codec(Protocol):
    """Feature records <-> latent vectors, for models of records. Pure numpy: the server encodes without torch."""

    @property
    def dim(self) -> int: ...

    def encode(self, values: npt.NDArray[np.floating]) -> Matrix:
        """(n, n_columns) values as measured -> (n, dim) float32."""
        ...

    def decode(self, latent: Matrix) -> npt.NDArray[np.float64]:
        """(n, dim) -> (n, n_columns) values as measured."""
        ...

    def state(self) -> tuple[str, Mapping[str, npt.NDArray]]:
        """The name and arrays that `engine.codec.feature_codec.restore(name, arrays)` makes it from."""
        ...


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """Item vectors as the model made them, the metric of user queries, and how a history becomes a user vector.

    `users` are `fold_in` of the training histories, row for row: batch and live answers agree by construction.
    """

    items: Vectors
    users: Vectors
    metric: Metric
    fold_in: FoldIn
    codec: Codec | None = None

    @property
    def dim(self) -> int:
        return self.items.dim


@dataclass(frozen=True)
class Abilities:
    """The abilities that an embedder declares; the contract tests of all embedders verify them."""

    metric: Metric
    fold_in: FoldInName
    codec: bool = False  # its spaces encode and decode
    samples: bool = False  # its codec has a distribution of latents, so its spaces can sample
    resumable: bool = False  # reports its passes, and resumes from a checkpoint
    gpu: bool = True  # trains on a GPU if one is requested


class Embedder(Protocol):
    """Hyper-parameters with a fit; a frozen dataclass with a `name`, a `dim` and its `abilities`."""

    @property
    def name(self) -> str: ...

    @property
    def abilities(self) -> Abilities: ...

    def fit(self, interactions: Interactions, *, seed: int, device: str) -> LatentSpace: ...
