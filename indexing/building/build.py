"""Build a generation of a model version: index, measure, write, record. It is not served until it is published."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from engine.catalogue.inferred_types import infer_types
from engine.disk_space import raising_disk_full
from engine.errors import DeviceUnavailable, NotEnoughData
from engine.latent_space.score_floor import longest_length
from engine.latent_space.space import LatentSpace
from engine.progress import Progress, no_progress
from engine.store import attribute_types, events, generations, items, models
from engine.store.change_feeds import snapshots
from engine.store.change_feeds.snapshots import Snapshot
from engine.store.database.connections import Connection, Database
from engine.store.generations import GenerationRecord
from engine.store.models import ModelRecord
from engine.store.spaces import Space
from engine.values.vectors import Matrix, Vectors
from indexing.building.behaviour import build_behaviour
from indexing.building.score_levels import score_levels
from indexing.generations.cold_items import ItemVectors, item_vectors
from indexing.generations.folder_locks import FolderLock
from indexing.generations.generation_writer import remove_on_failure, write
from indexing.generations.similarity_vectors import SimilarityVectors, similarity_vectors
from indexing.live.encoded_records import encode_records, record_fields
from indexing.recipes import recipe as recipes
from indexing.recipes.recipe import BuiltIndex, Recipe
from indexing.recipes.tuner import tune
from indexing.searchers.metric import inverse_lengths, query_vectors

log = structlog.get_logger()
MAX_KINDS = 1000  # event kinds listed in a manifest
NAME_PATTERN = "????????T??????-m*-??????"  # glob pattern of generation names


def build_generation(
    database: Database,
    space: Space,
    version: int,
    folder: Path,
    *,
    recipe: str = "auto",
    device: str = "cpu",
    progress: Progress = no_progress,
) -> str:
    """Export model `version` in one snapshot, index it under `folder / space`, record it, and return its name.

    BelowFloor when the measured recall is too low; then nothing is recorded.
    """
    progress("read vectors", 0.0)
    with database.connect() as conn:
        conn = conn.execution_options(isolation_level="REPEATABLE READ")
        with conn.begin():
            record = models.get(conn, space.key, version)
            with database.same_snapshot(conn) as other, ThreadPoolExecutor(1) as pool:
                reading = pool.submit(items.read_catalogue, other, space.key)
                latent = models.load_space(conn, space.key, version, partial(_item_names, reading))
                catalogue = _in_row_order(reading.result(), latent)
            caller_vectors = _unseen_record_vectors(conn, space, record, latent, catalogue) | items.read_vectors(
                conn, space.key, version
            )
            fields_by_key = record_fields(conn, space.key) if latent.codec is None else {}
            all_items = item_vectors(latent, catalogue, caller_vectors, fields_by_key)
            now_us = time.time_ns() // 1000
            popularity, behaviour = build_behaviour(conn, space, record, all_items.catalogue, now_us=now_us)
            kinds = _kind_counts(conn, space)
            start = snapshots.current(conn)
    if len(latent.items) == 0:
        raise NotEnoughData(f"model version {version} has no item vectors to index")
    progress("index", 0.2)
    factors = inverse_lengths(all_items.vectors)
    similarity = similarity_vectors(record.embedder, latent, all_items, factors)
    indexes = _build_indexes(all_items.vectors, factors, similarity, latent, recipe, device, progress)
    progress("write and hash", 0.8)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-m{version}-{secrets.token_hex(3)}"
    manifest, folder_lock = _write_atomically(
        folder / space.name,
        name,
        all_items=all_items,
        factors=factors,
        similarity=similarity,
        popularity=popularity.sums,
        behaviour=behaviour,
        users=latent.users,
        space_fold_in=latent.fold_in,
        codec=latent.codec,
        indexes=indexes,
        manifest=_manifest_entries(space, record, start, latent, all_items, similarity)
        | {"popularity": popularity.to_json(), "recipe": recipe, "device": device, "kinds": kinds},
    )
    _record(database, space, folder / space.name / name, manifest)
    folder_lock.close()
    progress("done", 1.0)
    return name


def _write_atomically(
    folder: Path, name: str, *, all_items: ItemVectors, users: Vectors, **parts: Any
) -> tuple[dict[str, Any], FolderLock]:
    """Write all files or none; a full disk raises an error that says so."""
    needed = all_items.vectors.nbytes * (1 + len(parts["indexes"])) + users.matrix.nbytes
    what = f"an index of {len(all_items.vectors):,} items"
    with raising_disk_full(folder, needed, what, "then run it again"), remove_on_failure(folder, name):
        return write(folder, name, all_items=all_items, users=users, **parts)


def _manifest_entries(
    space: Space,
    record: ModelRecord,
    start: Snapshot,
    latent: LatentSpace,
    all_items: ItemVectors,
    similarity: SimilarityVectors,
) -> dict[str, Any]:
    return {
        "space": space.name,
        "model": record.version,
        "embedder": record.embedder,
        "metric": record.metric,
        "longest": longest_length(latent.items.matrix),
        "score_levels": score_levels(latent.users.matrix, all_items.vectors, similarity.vectors, latent.metric),
        "start": {"snapshot": str(start), "epoch": start.epoch},
    }


def _record(database: Database, space: Space, path: Path, manifest: Mapping[str, Any]) -> None:
    """Record a generation in the database, or remove its files on failure, because an unrecorded one is never found.

    Attributes that have no type yet get the type of their values.
    """
    try:
        types = infer_types(pa.ipc.open_file(pa.memory_map(str(path / "attributes.arrow"))).read_all())
        with database.begin() as conn:
            attribute_types.add(conn, space.key, types)
            generations.add(conn, space.key, path.name, manifest["model"], manifest)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def rebuild_job(space: Space) -> str:
    """The name of the rebuild job of a space; `Election` lets one process of a database run it at a time."""
    return f"rebuild {space.key}"


def rebuild_generation(database: Database, space: Space, previous: GenerationRecord, folder: Path) -> str:
    """Build a generation with the model, recipe and device of `previous`.

    If the device is not available on this machine, build on the CPU: serving matters more than build time.
    """
    recipe, device = str(previous.manifest.get("recipe", "auto")), str(previous.manifest.get("device", "cpu"))
    try:
        return build_generation(database, space, previous.model, folder, recipe=recipe, device=device)
    except DeviceUnavailable as error:
        log.warning("rebuilt on the CPU", space=space.name, device=device, error=str(error))
        return build_generation(database, space, previous.model, folder, recipe=recipe)


def _build_indexes(
    vectors: Matrix,
    factors: Matrix,
    similarity: SimilarityVectors,
    latent: LatentSpace,
    recipe: str,
    device: str,
    progress: Progress,
) -> dict[str, BuiltIndex]:
    """The index for user queries, by the metric of the space, and the index for similar items. Both share one index
    where their vectors and metric are the same."""
    same = latent.metric == "cosine" and similarity.transform is None
    users, items = query_vectors(_sample(latent.users.matrix), latent.metric), _sample(similarity.vectors)
    by_metric = factors if latent.metric == "cosine" else None
    queries = users if len(users) else query_vectors(query_vectors(_sample(vectors), "cosine"), latent.metric)
    chosen, curve = _choose_recipe(recipe, vectors, queries, by_metric, device)
    for_users = recipes.build(chosen, vectors, queries, by_metric, device=device, curve=curve)
    progress("index", 0.5)
    index, queries = for_users.index if same else None, query_vectors(items, "cosine")
    for_items = recipes.build(chosen, similarity.vectors, queries, similarity.factors, index=index, device=device)
    return {"metric": for_users, "cosine": for_items}


def _choose_recipe(
    recipe: str, vectors: Matrix, queries: Matrix, factors: Matrix | None, device: str
) -> tuple[Recipe, Sequence[dict[str, Any]]]:
    """The recipe of a name, and the tuner's measurements; for auto, the cheapest recipe for these vectors."""
    chosen = recipes.choose(recipe, len(vectors), device)
    return tune(vectors, queries, factors, device=device) if recipe == "auto" else (chosen, ())


def _item_names(reading: Future[pa.Table]) -> pa.Table:
    return reading.result().select(["item_key", "item_id"])


def _in_row_order(catalogue: pa.Table, latent: LatentSpace) -> pa.Table:
    """Items of the model first, in their row order, then all others that are not deleted."""
    first = pc.index_in(pa.array(latent.items.ids.ids, pa.string()), catalogue["item_id"].combine_chunks())
    is_rest = ~catalogue["deleted"].to_numpy()
    is_rest[first.to_numpy()] = False
    return catalogue.take(pa.array(np.concatenate([first.to_numpy(), np.flatnonzero(is_rest)]), pa.int64()))


def _unseen_record_vectors(
    conn: Connection, space: Space, record: ModelRecord, latent: LatentSpace, catalogue: pa.Table
) -> dict[int, Matrix]:
    """item_key -> vector of feature records that the model has not seen: changed since the training read them, or
    new."""
    read_at = record.evaluation.get("records_read_at")
    since = record.created_at if read_at is None else datetime.fromisoformat(read_at)
    others = catalogue["item_key"].to_pylist()[len(latent.items) :]
    changed = encode_records(conn, space.key, latent.codec, since=since)
    return changed | encode_records(conn, space.key, latent.codec, others)


def _kind_counts(conn: Connection, space: Space) -> dict[str, int]:
    """Event kind -> number of events, for the most frequent kinds."""
    return dict(islice(events.kind_counts(conn, space.key).items(), MAX_KINDS))


def _sample(matrix: Matrix) -> Matrix:
    rng = np.random.default_rng(0)
    rows = rng.choice(len(matrix), min(recipes.SAMPLE, len(matrix)), replace=False)
    return np.asarray(matrix[np.sort(rows)])
