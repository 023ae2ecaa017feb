"""Writing: the folder of a generation, made beside, hashed, fsynced and renamed: never there half done."""

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
from engine.catalogue.columns import attribute_table
from engine.latent_space.space import Codec, FoldIn
from engine.private_folders import make_private_folder
from engine.values.vectors import Matrix, Vectors
from indexing.generations.cold_items import ItemVectors
from indexing.generations.folder_identity import origin
from indexing.generations.folder_locks import Hold, made
from indexing.generations.manifest import seal
from indexing.generations.similarity_vectors import LIKENESS, Alike
from indexing.recipes.recipe import BuiltIndex, Index
from indexing.searchers.int8_lists import Int8Lists

FORMAT = 4
CODEC = "codec.safetensors"
INT8_LISTS_SUFFIX = ".int8.safetensors"  # the end of the name of a file of them
PARTIAL = ".partial"  # the end of the name of a folder that is not finished


def write(
    folder: Path,
    generation: str,
    *,
    shelf: ItemVectors,
    factors: Matrix,
    alike: Alike,
    popularity: npt.NDArray[np.float64],
    users: Vectors,
    space_fold_in: FoldIn,
    codec: Codec | None = None,
    indexes: Mapping[str, BuiltIndex],
    manifest: Mapping[str, Any],
) -> tuple[dict[str, Any], Hold]:
    """Write the folder `folder / generation`; nothing of that name is ever there half done.

    Returns the manifest, and a hold on the folder: one that is not recorded yet would be taken for left over.
    `factors` are the inverse lengths of the vectors; two of `indexes` that share one share its file.
    """
    target, partial = folder / generation, folder / f".{generation}{PARTIAL}"
    for each in (folder.parent, folder):
        make_private_folder(each)
    hold = made(partial)
    name, arrays = space_fold_in.state()
    np.save(partial / "items.npy", shelf.vectors)
    if shelf.learnt is not None:
        np.save(partial / "learnt.npy", shelf.learnt)
    np.save(partial / "factors.npy", factors)
    if alike.likeness is not None:
        np.save(partial / "places.npy", alike.places)
        np.save(partial / "place_factors.npy", alike.factors)
        _write_arrays(partial / LIKENESS, alike.likeness.state())
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
    full = dict(manifest) | {
        "format": FORMAT,
        "generation": generation,
        "origin": origin(folder.parent),
        "fold_in": name,
        "n_vectors": len(shelf.vectors),
        "n_learnt": shelf.n_learnt,
        "encoder_explains": None if shelf.encoder is None else round(shelf.encoder.explained, 4),
        "indexes": _write_indexes(partial, indexes),
    }
    sealed = seal(partial, full)
    partial.rename(target)
    fsync(folder)
    return sealed, hold


@contextmanager
def removed_when_failed(folder: Path, generation: str) -> Iterator[None]:
    """What was written of a generation goes at once where that fails: a full disk has no room for it."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder / f".{generation}{PARTIAL}", ignore_errors=True)
        raise


def _write_indexes(folder: Path, indexes: Mapping[str, BuiltIndex]) -> dict[str, dict[str, Any]]:
    """What the manifest says of each; the file of an index is named after the first that uses it."""
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
    """The name of its file."""
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
