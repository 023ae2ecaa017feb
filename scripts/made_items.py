"""Item vectors for the benchmarks, generated or learnt, and a space that holds them.

Generated vectors are clustered like those of real items. Departments, categories and tastes are three levels of centres
(lengths 1, 0.7 and 0.5) whose sizes fall as 1 / rank. Items spread around a taste (0.25) with a spectrum that falls as
1 / sqrt(rank), so that most of the variance is in few directions. Queries are drawn from the same distribution. At
40,000 items the 1st, 20th and 1000th neighbour have cosine .98, .97 and .66; for the spectral item vectors of Gowalla
.99, .98 and .58. An IVF index needs 16 of 512 lists for recall .99, and 8 for Gowalla: generated items are harder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import scipy.sparse as sp

from engine.embedders import registry
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import LatentSpace, Metric
from engine.store import items, models, spaces, users
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.ids import IdMap
from engine.values.interactions import Interactions
from engine.values.vectors import Matrix, Vectors

LEVELS = ((12, 1.0), (200, 0.7), (2000, 0.5))  # (number of centres, their length)
SPREAD = 0.25
N_USERS = 2000


def clustered(n: int, dim: int, seed: int = 0) -> Matrix:
    """(n, dim) float32 with lengths near 1.4. `seed` draws other items around the same centres."""
    centre_draw, draw = np.random.default_rng(12), np.random.default_rng(seed)
    spectrum = 1 / np.sqrt(np.arange(1, dim + 1))
    spectrum *= np.sqrt(dim / (spectrum**2).sum())
    rotation = np.linalg.qr(centre_draw.standard_normal((dim, dim)))[0]
    offsets = draw.standard_normal((n, dim)).astype(np.float32) * (SPREAD * spectrum / np.sqrt(dim)).astype(np.float32)
    taste, centres = _drawn(LEVELS[-1][0], n, draw), np.zeros((LEVELS[-1][0], dim))
    for count, length in LEVELS:
        level = centre_draw.standard_normal((count, dim)) * spectrum * length / np.sqrt(dim)
        centres += level[centre_draw.integers(0, count, len(centres)) if count < len(centres) else slice(None)]
    return np.asarray((offsets + centres[taste].astype(np.float32)) @ rotation.astype(np.float32))


def learnt(folder: Path, dim: int, seed: int = 0) -> Matrix:
    """Item vectors that `spectral` learns from `folder / train.parquet`, with the int columns user and item."""
    cells = pl.read_parquet(folder / "train.parquet")
    where = (cells["user"].to_numpy(), cells["item"].to_numpy())
    matrix = sp.csr_matrix((np.ones(len(cells), np.float32), where))
    matrix.data[:] = 1
    names = [IdMap(str(row) for row in range(size)) for size in matrix.shape]
    space = registry.make("spectral", {"dim": dim}).fit(Interactions(*names, matrix), seed=seed, device="cpu")
    return np.array(space.items.matrix)


def store(database: Database, name: str, vectors: Matrix, *, metric: Metric = "cosine") -> tuple[Space, int]:
    """Stores an item for each vector, and a model version with these vectors; (space, version)."""
    with database.begin() as conn:
        space = spaces.ensure(conn, name)
        ids = [f"item-{row:07d}" for row in range(len(vectors))]
        items.bulk_merge(conn, space.key, _catalogue(ids))
        people = Vectors(IdMap(f"user-{row:05d}" for row in range(N_USERS)), _users(vectors))
        nothing = pa.nulls(len(people), pa.string())
        users.bulk_merge(conn, space.key, pa.table({"user_id": list(people.ids.ids), "attributes": nothing}))
        fold_in = LinearFoldIn(vectors, np.ones(len(vectors), np.float32), np.ones(vectors.shape[1], np.float32))
        latent = LatentSpace(Vectors(IdMap(ids), vectors), people, metric, fold_in)
        record = models.save(conn, space.key, embedder="made", params={}, space=latent, evaluation={}, publishable=True)
    return space, record.version


def _drawn(count: int, n: int, draw: np.random.Generator) -> np.ndarray:
    """(n,) of 0 to count - 1, with odds that fall as 1 / rank."""
    odds = 1 / np.arange(1, count + 1)
    return draw.choice(count, n, p=odds / odds.sum())


def _users(vectors: Matrix) -> Matrix:
    """(N_USERS, dim): each near one item, with a share of another."""
    draw = np.random.default_rng(5)
    rows = draw.integers(0, len(vectors), (N_USERS, 2))
    return np.asarray(vectors[rows[:, 0]] + 0.3 * vectors[rows[:, 1]], dtype=np.float32)


def _catalogue(ids: list[str]) -> pa.Table:
    """A table of items, each with a title, a category and a price."""
    prices = np.random.default_rng(3).integers(1, 300, len(ids)).tolist()
    return pa.table(
        {
            "item_id": ids,
            "title": [f"Item {row}" for row in range(len(ids))],
            "categories": pa.array([[f"category {row % 97}"] for row in range(len(ids))], pa.list_(pa.string())),
            "attributes": [f'{{"price": {price}}}' for price in prices],
        }
    )
