"""Checks that the files of a generation fit each other. A generation with inconsistent files is refused when opened.

A checksum proves that a file is as it was written, not that it is consistent with the others; with one vector missing,
every request would fail. ARRAYS and TABLES list everything that is checked. The first file that has a size, such as
n_rows, defines it; all other files must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from engine.catalogue.columns import SCHEMA
from engine.codec.feature_codec import FeatureCodec
from engine.errors import CorruptGeneration
from engine.latent_space.dislikes import FoldInWithDislikes
from engine.latent_space.item_encoder import ItemEncoder
from engine.latent_space.item_similarity import ItemSimilarity
from engine.latent_space.space import FoldIn, Metric
from engine.store.items import CATALOGUE
from engine.values.vectors import Matrix

# File -> type of number, and the size of each dimension by name. Optional files are listed in the manifest if present.
ARRAYS: Mapping[str, tuple[type[np.floating], tuple[str, ...]]] = {
    "items.npy": (np.float32, ("n_vectors", "dim")),
    "learnt.npy": (np.float32, ("n_learnt", "dim")),
    "factors.npy": (np.float32, ("n_vectors",)),
    "places.npy": (np.float32, ("n_vectors", "place_dim")),
    "place_factors.npy": (np.float32, ("n_vectors",)),
    "users.npy": (np.float32, ("n_users", "dim")),
    "popularity.npy": (np.floating, ("n_rows",)),
}
TABLES: Mapping[str, tuple[str | None, pa.Schema]] = {  # file -> number of rows by name, and columns
    "catalogue.arrow": ("n_rows", CATALOGUE),
    "users.arrow": ("n_users", pa.schema([("user_id", pa.string())])),
    "attributes.arrow": (None, SCHEMA),
}
FOLD_INS: Mapping[str, Mapping[str, tuple[str, ...]]] = {  # arrays whose wrong size numpy would broadcast silently
    "linear": {"item_scale": ("n_learnt",), "dim_scale": ("dim",)},
    "two_tables": {"inputs": ("n_learnt", "dim")},
    "least_squares": {"gram": ("dim", "dim")},
}
NEVER_NULL = ("item_key", "item_id", "available", "deleted", "created_at", "updated_at")


class Contents:
    """The arrays and tables of the generation in `folder`, memory-mapped; CorruptGeneration where they do not fit."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]):
        self._folder, self._files = folder, manifest["files"]
        self._sizes: dict[str, int] = {name: manifest[name] for name in ("n_vectors", "n_learnt")}
        self.tables = {name: self._table(name) for name in TABLES}
        self.arrays = {name: self._array(name) for name in ARRAYS if name in self._files}
        n_learnt, n_vectors, n_rows = (self._sizes[name] for name in ("n_learnt", "n_vectors", "n_rows"))
        if not 0 <= n_learnt <= n_vectors <= n_rows:
            self._refuse("manifest.json", f"{n_learnt} learnt of {n_vectors} vectors of {n_rows} items")
        for name in NEVER_NULL:
            if self.tables["catalogue.arrow"][name].null_count:
                self._refuse("catalogue.arrow", f"items without {name}")
        self._check_attributes(self.tables["attributes.arrow"])
        if manifest["metric"] not in get_args(Metric):
            self._refuse("manifest.json", f"metric {manifest['metric']!r}")

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def size(self, name: str) -> int:
        return self._sizes[name]

    def _array(self, name: str) -> Matrix:
        """A plain array, because np.memmap is slower to slice."""
        array = np.asarray(np.load(self._folder / name, mmap_mode="r"))
        kind, sizes = ARRAYS[name]
        if not np.issubdtype(array.dtype, kind) or array.ndim != len(sizes):
            self._refuse(name, f"an array of {array.dtype} of shape {array.shape}")
        for size, found in zip(sizes, array.shape, strict=True):
            self._check_size(name, size, found)
        return array

    def _table(self, name: str) -> pa.Table:
        table = pa.ipc.open_file(pa.memory_map(str(self._folder / name))).read_all()
        size, schema = TABLES[name]
        if not table.schema.equals(schema):
            self._refuse(name, f"columns {table.schema.names} of other types than expected")
        if size is not None:
            self._check_size(name, size, table.num_rows)
        return table

    def _check_size(self, name: str, size: str, found: int) -> None:
        if self._sizes.setdefault(size, found) != found:
            self._refuse(name, f"a {size} of {found} where other files have {self._sizes[size]}")

    def _check_attributes(self, table: pa.Table) -> None:
        """All row numbers must be in the catalogue, and every row number needs a value."""
        rows = pc.list_flatten(table["rows"])
        first, last = pc.min_max(rows).as_py().values()
        if len(rows) and not 0 <= first <= last < self._sizes["n_rows"]:
            self._refuse("attributes.arrow", f"rows {first} to {last} of {self._sizes['n_rows']}")
        lengths = {name: pc.list_value_length(table[name]).to_numpy() for name in ("rows", "numbers", "texts", "rests")}
        is_text = pc.is_in(table["kind"], pa.array(["text", "texts"])).to_numpy()
        values = np.where(is_text, lengths["texts"], lengths["numbers"])
        optional = np.where(is_text, lengths["numbers"], lengths["rests"])  # all values have it or none has
        complete = (values == lengths["rows"]) & ((optional == 0) | (optional == lengths["rows"]))
        present = pc.equal(table["kind"], "present").to_numpy()
        if not (present | complete).all():
            self._refuse("attributes.arrow", "another number of values than of rows that have one")

    def _refuse(self, name: str, found: str) -> None:
        raise CorruptGeneration(f"{self._folder / name} does not fit the other files of its generation: it has {found}")


def check_fold_in(fold_in: FoldIn, n_learnt: int, dim: int) -> None:
    """Fold in the first and the last learnt item; errors of the fold-in itself pass through."""
    if isinstance(fold_in, FoldInWithDislikes):
        check_fold_in(fold_in.likes, n_learnt, dim)
        return
    name, arrays = fold_in.state()
    sizes = {"n_learnt": n_learnt, "dim": dim}
    for key, shape in FOLD_INS.get(name, {}).items():
        _check_shape(f"{key} of the fold-in", arrays[key], tuple(sizes[size] for size in shape))
    cells = sp.csr_matrix((np.ones(2, np.float32), ([0, 1], [0, n_learnt - 1])), shape=(2, n_learnt))
    for history in (cells, cells[:1], cells[1:]):
        _check_shape("fold-in", fold_in.vectors(history), (history.shape[0], dim))


def check_encoder(encoder: ItemEncoder, dim: int) -> None:
    n = len(encoder.features)
    _check_shape("encoder", encoder.weights, (n, dim))
    for array, shape in ((encoder.mean, (dim,)), (encoder.centre, (n,)), (encoder.scale, (n,))):
        _check_shape("encoder", array, shape)


def check_item_similarity(similarity: ItemSimilarity, dim: int, similarity_dim: int) -> None:
    _check_shape("likeness", similarity.projection, (dim, similarity_dim))


def check_codec(codec: FeatureCodec, dim: int) -> None:
    """Encode and decode a record whose values are all missing."""
    latent = codec.encode(np.full((1, len(codec.columns)), np.nan))
    _check_shape("codec", latent, (1, dim))
    _check_shape("codec", codec.decode(latent), (1, len(codec.columns)))
    _check_shape("memory of the codec", codec.normal.memory, (len(codec.normal.memory), dim))
    _check_shape("latents of the codec", codec.normal.latents, (len(codec.normal.latents), dim))


def _check_shape(what: str, found: np.ndarray, expected: tuple[int, ...]) -> None:
    if found.shape != expected:
        raise CorruptGeneration(f"the {what} does not fit the vectors: expected shape {expected}, got {found.shape}")
