"""Generation: the immutable folder that is served, opened only if whole; its files are memory-mapped, not copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from safetensors import numpy as safetensors

from engine import codec as codecs
from engine import fold_in, item_encoder
from engine.codec import FeatureCodec
from engine.columns import Columns
from engine.errors import CorruptGeneration
from engine.ids import IdMap
from engine.item_encoder import ItemEncoder
from engine.popularity import Standing, standing
from engine.recommend import Mask
from engine.space import FoldIn, Metric
from engine.vectors import Matrix, Vectors
from indexing.coded import CodedLists
from indexing.exact import ExactSearcher
from indexing.manifest import check
from indexing.mapped import mapped
from indexing.metric import MeasuredSearcher, MetricSearcher
from indexing.recipe import Index, Recipe, searcher_of, with_tested_filters
from indexing.writing import CODEC, CODED_LISTS, FORMAT

CHUNK = 4096  # ids made at a time: other threads get their turn in between
WARM_QUERIES = 32


@dataclass(frozen=True, eq=False)
class Generation:
    generation: str
    manifest: Mapping[str, Any]
    metric: Metric
    items: IdMap  # rows with vectors first, then the rest of the catalogue
    vectors: Matrix  # (n_vectors, dim), raw, memory-mapped
    fold_in: FoldIn
    user_ids: pa.ChunkedArray
    user_vectors: Matrix
    users_to_items: MeasuredSearcher
    items_to_items: MeasuredSearcher
    learnt: Matrix  # (n_learnt, dim), the columns of `fold_in`; `vectors` has the caller's own in their place
    encoder: ItemEncoder | None
    catalogue: pa.Table
    attributes: pa.Table  # engine.columns.SCHEMA
    standing: Standing  # what was popular, by row
    codec: FeatureCodec | None = None  # of a model that learnt from feature records
    _fields: dict[int, bytes] = field(default_factory=dict)

    @property
    def model(self) -> int:
        return int(self.manifest["model"])

    @cached_property
    def users(self) -> Vectors:
        return Vectors(IdMap(_texts(self.user_ids)), self.user_vectors)

    @cached_property
    def columns(self) -> Columns:
        return Columns(self.catalogue, self.attributes)

    @cached_property
    def newest(self) -> npt.NDArray[np.int64]:
        """Every row, the one first heard of last first."""
        return np.argsort(-self.catalogue["created_at"].to_numpy(), kind="stable").astype(np.int64)

    @cached_property
    def shown(self) -> Mask | None:
        """The rows that could be shown when this was built; None: every row."""
        shown = pc.and_(self.catalogue["available"], pc.invert(self.catalogue["deleted"])).to_numpy()
        shown.flags.writeable = False
        return None if shown.all() else shown

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


def open_generation(path: Path) -> Generation:
    """Open a generation after checking every file against its checksum; CorruptGeneration names the first bad one.

    It is warm when this returns: both indexes have answered, and the filters of each were tested on it.
    """
    manifest = check(path)
    if manifest.get("format") != FORMAT:
        raise CorruptGeneration(f"generation {path.name} was built by another version of nearfield")
    metric: Metric = manifest["metric"]
    items, factors = _array(path / "items.npy"), _array(path / "factors.npy")
    learnt = _array(path / "learnt.npy") if "learnt.npy" in manifest["files"] else items[: manifest["n_learnt"]]
    catalogue = _read_arrow(path / "catalogue.arrow")
    encoder = path / "encoder.safetensors"
    made = Generation(
        generation=manifest["generation"],
        manifest=manifest,
        metric=metric,
        items=IdMap(_texts(catalogue["item_id"])),
        vectors=items,
        fold_in=fold_in.restore(manifest["fold_in"], learnt, mapped(path / "fold_in.safetensors")),
        user_ids=_read_arrow(path / "users.arrow")["user_id"],
        user_vectors=_array(path / "users.npy"),
        users_to_items=MetricSearcher(
            _searcher(path, "metric", manifest, items, factors if metric == "cosine" else None), metric
        ),
        items_to_items=MetricSearcher(_searcher(path, "cosine", manifest, items, factors), "cosine"),
        learnt=learnt,
        encoder=item_encoder.restore(safetensors.load_file(encoder)) if encoder.name in manifest["files"] else None,
        catalogue=catalogue,
        attributes=_read_arrow(path / "attributes.arrow"),
        standing=standing(np.load(path / "popularity.npy")),
        codec=codecs.restore("features", safetensors.load_file(path / CODEC)) if CODEC in manifest["files"] else None,
    )
    for searcher in (made.users_to_items, made.items_to_items):
        for row in np.linspace(0, len(items) - 1, min(WARM_QUERIES, len(items)), dtype=np.int64):
            searcher.search(items[row : row + 1], 20)
    return made


def _searcher(
    path: Path, label: str, manifest: Mapping[str, Any], vectors: Matrix, factors: Matrix | None
) -> MeasuredSearcher:
    described = manifest["indexes"][label]
    recipe = Recipe(described["factory"], described["effort"])
    if described["file"] is None:
        return ExactSearcher(vectors, factors)
    index = _index(path / described["file"], vectors)
    return with_tested_filters(searcher_of(index, recipe, vectors, factors))


def _index(path: Path, vectors: Matrix) -> Index:
    if path.name.endswith(CODED_LISTS):
        lists = CodedLists(**mapped(path))
        lists.check(*vectors.shape)
        return lists
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def _array(path: Path) -> Matrix:
    """Memory-mapped, read-only, as a plain array: those of numpy's own class are slower to slice."""
    return np.asarray(np.load(path, mmap_mode="r"))


def _texts(column: pa.ChunkedArray) -> Iterator[str]:
    for start in range(0, len(column), CHUNK):
        yield from column.slice(start, CHUNK).to_pylist()


def _read_arrow(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
