"""Generation: the immutable folder that is served. Written beside, hashed, fsynced, renamed; opened only if whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
from safetensors import numpy as safetensors

from engine import codec as codecs
from engine import fold_in, item_encoder
from engine.codec import FeatureCodec
from engine.columns import Columns, attribute_table
from engine.errors import CorruptGeneration
from engine.ids import IdMap
from engine.item_encoder import ItemEncoder
from engine.recommend import Found, Mask, Searcher
from engine.space import Codec, FoldIn, Metric
from engine.vectors import Matrix, Vectors
from indexing.approximate import ApproximateSearcher
from indexing.cold import ItemVectors
from indexing.exact import ExactSearcher
from indexing.metric import index_vectors, query_vectors
from indexing.recipe import Built, Recipe

MANIFEST = "manifest.json"
CODEC = "codec.safetensors"


@dataclass(frozen=True, eq=False)
class MetricSearcher:
    """A searcher that scales raw vectors for its index first."""

    inner: Searcher
    metric: Metric

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        return self.inner.search(query_vectors(queries, self.metric), k, allowed)


@dataclass(frozen=True, eq=False)
class Generation:
    generation: str
    manifest: Mapping[str, Any]
    metric: Metric
    items: IdMap  # rows with vectors first, then the rest of the catalogue
    vectors: Matrix  # (n_vectors, dim), raw, memory-mapped
    fold_in: FoldIn
    users: Vectors
    users_to_items: Searcher
    items_to_items: Searcher
    learnt: Matrix  # (n_learnt, dim), the columns of `fold_in`; `vectors` has the caller's own in their place
    encoder: ItemEncoder | None
    catalogue: pa.Table
    attributes: pa.Table  # engine.columns.SCHEMA
    popularity: npt.NDArray[np.float32]
    popular: npt.NDArray[np.int64]
    codec: FeatureCodec | None = None  # of a model that learnt from feature records
    _fields: dict[int, bytes] = field(default_factory=dict)

    @property
    def model(self) -> int:
        return int(self.manifest["model"])

    @cached_property
    def columns(self) -> Columns:
        return Columns(self.catalogue, self.attributes)

    @cached_property
    def row_of_key(self) -> dict[int, int]:
        return {key: row for row, key in enumerate(self.catalogue["item_key"].to_pylist())}

    @cached_property
    def shown(self) -> Mask | None:
        """The rows that could be shown when this was built; None: every row."""
        shown = [
            a and not d for a, d in zip(*(self.catalogue[n].to_pylist() for n in ("available", "deleted")), strict=True)
        ]
        return None if all(shown) else np.array(shown, dtype=bool)

    def fields(self, row: int) -> bytes:
        """The item's fields as JSON; made once per row."""
        made = self._fields.get(row)
        if made is None:
            made = self._fields[row] = fields_json(self.catalogue.slice(row, 1).to_pylist()[0])
        return made


def fields_json(item: Mapping[str, Any]) -> bytes:
    """What an answer shows of a catalogue row: title, categories, then its attributes."""
    attributes = orjson.loads(item["attributes"] or "{}")
    return orjson.dumps({"title": item["title"], "categories": item["categories"] or []} | attributes)


def write(
    folder: Path,
    generation: str,
    *,
    shelf: ItemVectors,
    popularity: npt.NDArray[np.float32],
    users: Vectors,
    space_fold_in: FoldIn,
    codec: Codec | None = None,
    by_metric: Built,
    by_cosine: Built,
    manifest: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the folder `folder / generation`; nothing of that name is ever there half done. Returns the manifest."""
    target, partial = folder / generation, folder / f".{generation}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    name, arrays = space_fold_in.state()
    np.save(partial / "items.npy", shelf.vectors)
    np.save(partial / "learnt.npy", shelf.learnt)
    np.save(partial / "users.npy", users.matrix)
    np.save(partial / "popularity.npy", popularity)
    _write_arrays(partial / "fold_in.safetensors", arrays)
    if codec is not None:
        _write_arrays(partial / CODEC, codec.state()[1])
    if shelf.encoder is not None:
        safetensors.save_file(dict(shelf.encoder.state()), partial / "encoder.safetensors")
    _write_arrow(partial / "catalogue.arrow", shelf.catalogue)
    _write_arrow(partial / "attributes.arrow", attribute_table(shelf.catalogue))
    _write_arrow(partial / "users.arrow", pa.table({"user_id": pa.array(users.ids.ids, pa.string())}))
    indexes = {"metric": by_metric, "cosine": by_cosine}
    for label, built in indexes.items():
        if built.index is not None:
            faiss.write_index(built.index, str(partial / f"{label}.faiss"))
    full = dict(manifest) | {
        "generation": generation,
        "fold_in": name,
        "n_vectors": len(shelf.vectors),
        "n_learnt": len(shelf.learnt),
        "encoder_explains": None if shelf.encoder is None else round(shelf.encoder.explained, 4),
        "indexes": {
            label: {"factory": b.recipe.factory, "effort": b.recipe.effort, "recall@20": b.recall}
            for label, b in indexes.items()
        },
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(partial.iterdir())
        },
    }
    full["checksum"] = _digest(full)
    (partial / MANIFEST).write_text(json.dumps(full, indent=2))
    for path in [*partial.iterdir(), partial]:
        _fsync(path)
    partial.rename(target)
    _fsync(folder)
    return full


def open_generation(path: Path) -> Generation:
    """Open a generation after checking every file against its checksum; CorruptGeneration names the first bad one."""
    manifest = check(path)
    metric: Metric = manifest["metric"]
    if "attributes.arrow" not in manifest["files"]:
        raise CorruptGeneration(f"generation {path.name} was built by an earlier version of nearfield")
    items, learnt = (np.load(path / name, mmap_mode="r") for name in ("items.npy", "learnt.npy"))
    catalogue = _read_arrow(path / "catalogue.arrow")
    user_ids = _read_arrow(path / "users.arrow")["user_id"].to_pylist()
    encoder = path / "encoder.safetensors"
    popularity = np.load(path / "popularity.npy")
    made = Generation(
        generation=manifest["generation"],
        manifest=manifest,
        metric=metric,
        items=IdMap(catalogue["item_id"].to_pylist()),
        vectors=items,
        fold_in=fold_in.restore(manifest["fold_in"], learnt, safetensors.load_file(path / "fold_in.safetensors")),
        users=Vectors(IdMap(user_ids), np.load(path / "users.npy", mmap_mode="r")),
        users_to_items=MetricSearcher(_searcher(path, "metric", manifest, index_vectors(items, metric)), metric),
        items_to_items=MetricSearcher(_searcher(path, "cosine", manifest, index_vectors(items, "cosine")), "cosine"),
        learnt=learnt,
        encoder=item_encoder.restore(safetensors.load_file(encoder)) if encoder.name in manifest["files"] else None,
        catalogue=catalogue,
        attributes=_read_arrow(path / "attributes.arrow"),
        popularity=popularity,
        popular=np.argsort(-popularity, kind="stable").astype(np.int64),
        codec=codecs.restore("features", safetensors.load_file(path / CODEC)) if CODEC in manifest["files"] else None,
    )
    if len(items):
        made.items_to_items.search(np.asarray(items[:1]), 1)  # warm
    return made


def check(path: Path) -> dict[str, Any]:
    """The manifest, once every file has the size and SHA-256 it was written with; FAISS notices no flipped bit."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        if manifest["checksum"] != _digest(manifest):
            raise CorruptGeneration(f"{path / MANIFEST} is not what was written")
        for name, expected in manifest["files"].items():
            if (path / name).stat().st_size != expected["bytes"] or _sha256(path / name) != expected["sha256"]:
                raise CorruptGeneration(
                    f"{path / name} is not what was written; it is rebuilt from PostgreSQL by `nearfield index`"
                )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptGeneration(f"generation {path.name} cannot be read: {error}") from error
    return manifest


def _searcher(path: Path, label: str, manifest: Mapping[str, Any], vectors: Matrix) -> Searcher:
    recipe = Recipe(manifest["indexes"][label]["factory"], manifest["indexes"][label]["effort"])
    if recipe.factory == "Flat":
        return ExactSearcher(vectors)
    index = faiss.read_index(str(path / f"{label}.faiss"), faiss.IO_FLAG_MMAP_IFC)
    return ApproximateSearcher(index, vectors, recipe.effort)


def _write_arrays(path: Path, arrays: Mapping[str, npt.NDArray]) -> None:
    safetensors.save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, path)


def _write_arrow(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _read_arrow(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(manifest: Mapping[str, Any]) -> str:
    """Of everything in the manifest but the checksum itself."""
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
