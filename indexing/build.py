"""Build a generation of a model version: index, measure, write, record. It is not served until it is published."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.errors import NotEnoughData
from engine.space import LatentSpace
from engine.store import changes, events, generations, items, models
from engine.store.database import Connection, Database
from engine.store.spaces import Space
from engine.vectors import Matrix
from indexing import recipe as recipes
from indexing.cold import item_vectors
from indexing.encoded import encoded
from indexing.generation import write
from indexing.metric import index_vectors, query_vectors

Progress = Callable[[str, float], None]


def build_generation(
    database: Database,
    space: Space,
    version: int,
    folder: Path,
    *,
    recipe: str = "auto",
    device: str = "cpu",
    progress: Progress = lambda what, share: None,
) -> str:
    """Export model `version` of a space in one snapshot, index it under `folder / space`, record it; its name.

    Raises BelowFloor when measured recall is too low; then nothing is recorded.
    """
    progress("read vectors", 0.0)
    with database.connect() as conn:
        conn = conn.execution_options(isolation_level="REPEATABLE READ")
        with conn.begin():
            record = models.get(conn, space.key, version)
            latent = models.load_space(conn, space.key, version)
            catalogue = _in_row_order(items.read_catalogue(conn, space.key), latent)
            own = items.read_vectors(conn, space.key, version)
            own = encoded(conn, space.key, latent.codec, since=record.created_at) | own
            shelf = item_vectors(latent, catalogue, own)
            popularity = _popularity(conn, space, shelf.catalogue)
            start = {"snapshot": str(changes.snapshot(conn)), "epoch": changes.epoch(conn)}
    if len(latent.items) == 0:
        raise NotEnoughData(f"model version {version} has no item vectors to index")
    vectors = shelf.vectors
    chosen = recipes.choose(recipe, len(vectors), device)
    progress("index for users", 0.2)
    queries = query_vectors(_sample(latent.users.matrix), latent.metric)
    by_metric = recipes.build(chosen, index_vectors(vectors, latent.metric), queries)
    progress("index for items", 0.5)
    by_cosine = recipes.build(chosen, index_vectors(vectors, "cosine"), query_vectors(_sample(vectors), "cosine"))
    progress("write and hash", 0.8)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-m{version}-{secrets.token_hex(3)}"
    manifest = write(
        folder / space.name,
        name,
        shelf=shelf,
        popularity=popularity,
        users=latent.users,
        space_fold_in=latent.fold_in,
        codec=latent.codec,
        by_metric=by_metric,
        by_cosine=by_cosine,
        manifest={
            "space": space.name,
            "model": version,
            "embedder": record.embedder,
            "metric": latent.metric,
            "start": start,
        },
    )
    with database.begin() as conn:
        generations.add(conn, space.key, name, version, manifest)
    progress("done", 1.0)
    return name


def _in_row_order(catalogue: pa.Table, latent: LatentSpace) -> pa.Table:
    """Items with vectors first, in their row order, then the live rest."""
    row_of = {id_: row for row, id_ in enumerate(catalogue["item_id"].to_pylist())}
    deleted = catalogue["deleted"].to_pylist()
    first = [row_of[id_] for id_ in latent.items.ids.ids]
    rest = [row for id_, row in row_of.items() if id_ not in latent.items.ids and not deleted[row]]
    return catalogue.take(pa.array(first + rest, pa.int64()))


def _popularity(conn: Connection, space: Space, catalogue: pa.Table) -> np.ndarray:
    """Distinct users per item as a share of the most popular one's, (n_rows,) float32."""
    counts = events.item_counts(conn, space.key)
    shares = np.array([counts.get(id_, 0) for id_ in catalogue["item_id"].to_pylist()], np.float32)
    return shares / max(float(shares.max(initial=0)), 1.0)


def _sample(matrix: Matrix) -> Matrix:
    draw = np.random.default_rng(0)
    chosen = draw.choice(len(matrix), min(recipes.SAMPLE, len(matrix)), replace=False)
    return np.asarray(matrix[np.sort(chosen)])
