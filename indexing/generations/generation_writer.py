"""Writes the folder of a generation atomically: a temporary folder is filled, hashed, fsynced and then renamed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors import numpy as safetensors

from engine.atomic import fsync
from engine.behaviour.behaviour import Behaviour
from engine.catalogue.columns import attribute_table
from engine.latent_space.space import Codec, FoldIn
from engine.private_folders import make_private_folder
from engine.values.vectors import Matrix, Vectors
from indexing.generations.cold_items import ItemVectors
from indexing.generations.folder_identity import folder_identity
from indexing.generations.folder_locks import FolderLock, create_locked
from indexing.generations.manifest import seal
from indexing.generations.similarity_vectors import LIKENESS, SimilarityVectors
from indexing.recipes.recipe import BuiltIndex, Index
from indexing.searchers.int8_lists import Int8Lists

FORMAT = 5
CODEC = "codec.safetensors"
BEHAVIOUR = "behaviour.safetensors"
INT8_LISTS_SUFFIX = ".int8.safetensors"  # suffix of a file of Int8Lists
PARTIAL = ".partial"  # suffix of an unfinished folder


def write(
    folder: Path,
    generation: str,
    *,
    all_items: ItemVectors,
    factors: Matrix,
    similarity: SimilarityVectors,
    popularity: npt.NDArray[np.float64],
    behaviour: Behaviour,
    users: Vectors,
    space_fold_in: FoldIn,
    codec: Codec | None = None,
    indexes: Mapping[str, BuiltIndex],
    manifest: Mapping[str, Any],
) -> tuple[dict[str, Any], FolderLock]:
    """Write the folder `folder / generation` atomically.

    Returns the manifest and a lock on the folder; without the lock, an unrecorded folder would count as abandoned.
    `factors` are the inverse lengths of the vectors. Two entries of `indexes` with the same index share a file.
    """
    target, partial = folder / generation, folder / f".{generation}{PARTIAL}"
    for each in (folder.parent, folder):
        make_private_folder(each)
    folder_lock = create_locked(partial)
    name, arrays = space_fold_in.state()
    np.save(partial / "items.npy", all_items.vectors)
    if all_items.learnt is not None:
        np.save(partial / "learnt.npy", all_items.learnt)
    np.save(partial / "factors.npy", factors)
    if similarity.transform is not None:
        np.save(partial / "places.npy", similarity.vectors)
        np.save(partial / "place_factors.npy", similarity.factors)
        _write_arrays(partial / LIKENESS, similarity.transform.state())
    np.save(partial / "users.npy", users.matrix)
    np.save(partial / "popularity.npy", popularity)
    _write_arrays(partial / BEHAVIOUR, behaviour.arrays())
    _write_arrays(partial / "fold_in.safetensors", arrays)
    if codec is not None:
        _write_arrays(partial / CODEC, codec.state()[1])
    if all_items.encoder is not None:
        safetensors.save_file(dict(all_items.encoder.state()), partial / "encoder.safetensors")
    _write_arrow(partial / "catalogue.arrow", all_items.catalogue)
    _write_arrow(partial / "attributes.arrow", attribute_table(all_items.catalogue))
    _write_arrow(partial / "users.arrow", pa.table({"user_id": pa.array(users.ids.ids, pa.string())}))
    full = dict(manifest) | {
        "format": FORMAT,
        "generation": generation,
        "origin": folder_identity(folder.parent),
        "fold_in": name,
        "n_vectors": len(all_items.vectors),
        "n_learnt": all_items.n_learnt,
        "encoder_explains": None if all_items.encoder is None else round(all_items.encoder.explained, 4),
        "indexes": _write_indexes(partial, indexes),
    }
    sealed = seal(partial, full)
    partial.rename(target)
    fsync(folder)
    return sealed, folder_lock


@contextmanager
def remove_on_failure(folder: Path, generation: str) -> Iterator[None]:
    """Remove the partly written folder at once if the block fails, because a full disk needs the space."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder / f".{generation}{PARTIAL}", ignore_errors=True)
        raise


def _write_indexes(folder: Path, indexes: Mapping[str, BuiltIndex]) -> dict[str, dict[str, Any]]:
    """Write the index files; returns the `indexes` entry of the manifest. A shared file is named after its first
    label."""
    files: dict[int, str] = {}
    described = {}
    for label, built in indexes.items():
        if built.index is not None and id(built.index) not in files:
            files[id(built.index)] = _write_index(folder, label, built.index)
        described[label] = {
            "factory": built.recipe.factory,
            "effort": built.recipe.effort,
            "file": files.get(id(built.index)) if built.index is not None else None,
            "recall@20": round(built.recall, 4),
            "filtered": {share: round(found, 4) for share, found in built.filtered.items()},
            "curve": list(built.curve),
        }
    return described


def _write_index(folder: Path, label: str, index: Index) -> str:
    """Write one index; returns its file name."""
    if isinstance(index, Int8Lists):
        _write_arrays(folder / f"{label}{INT8_LISTS_SUFFIX}", index.state())
        return f"{label}{INT8_LISTS_SUFFIX}"
    faiss.write_index(index, str(folder / f"{label}.faiss"))
    return f"{label}.faiss"


def _write_arrays(path: Path, arrays: Mapping[str, npt.NDArray]) -> None:
    safetensors.save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, path)


def _write_arrow(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
