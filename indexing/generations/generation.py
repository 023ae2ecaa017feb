"""Generation: the immutable folder that is served. It is verified when opened; its files are memory-mapped, not
copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
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

from engine.behaviour import behaviour
from engine.behaviour.behaviour import Behaviour
from engine.behaviour.popularity import PopularityRanking, rank_by_popularity
from engine.catalogue.columns import Columns
from engine.catalogue.item_values import ItemValuesCache
from engine.catalogue.predicate import PREFIX, ItemFields, item_fields
from engine.codec import feature_codec as codecs
from engine.codec.feature_codec import FeatureCodec
from engine.errors import CorruptGeneration
from engine.latent_space import fold_in, item_encoder, item_similarity
from engine.latent_space.item_encoder import ItemEncoder
from engine.latent_space.space import FoldIn, Metric
from engine.recommending.values.searcher import Mask
from engine.values.ids import IdMap
from engine.values.vectors import Matrix, Vectors
from indexing.generations.contents import Contents, check_codec, check_encoder, check_fold_in, check_item_similarity
from indexing.generations.folder_locks import FolderLock, lock_for_serving
from indexing.generations.generation_writer import BEHAVIOUR, CODEC, FORMAT, INT8_LISTS_SUFFIX
from indexing.generations.manifest import verify
from indexing.generations.memory_map import map_arrays
from indexing.generations.similarity_vectors import LIKENESS, SimilarityVectors
from indexing.recipes.recipe import Index, Recipe, make_searcher, with_filter_selftest
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_lists import Int8Lists
from indexing.searchers.metric import MeasurableScorer, MeasurableSearcher, MetricSearcher

ID_CHUNK = 4096  # ids decoded at a time, so that other threads can run in between
WARM_QUERIES = 32


@dataclass(frozen=True, eq=False)
class Generation:
    generation: str
    manifest: Mapping[str, Any]
    metric: Metric
    items: IdMap  # items with vectors first, then the rest of the catalogue
    vectors: Matrix  # (n_vectors, dim), raw, memory-mapped
    fold_in: FoldIn
    user_ids: pa.ChunkedArray
    user_vectors: Matrix
    users_to_items: MeasurableScorer
    items_to_items: MeasurableScorer
    similarity_vectors: SimilarityVectors  # the vectors that `items_to_items` searches
    learnt: Matrix  # (n_learnt, dim), the columns of `fold_in`; in `vectors` the caller's own may replace them
    encoder: ItemEncoder | None
    catalogue: pa.Table
    attributes: pa.Table  # engine.catalogue.columns.SCHEMA
    popularity_ranking: PopularityRanking  # popularity at the build, by row
    behaviour: Behaviour  # what users did with the items until the build, by row
    codec: FeatureCodec | None = None  # only of a model of feature records
    folder_lock: FolderLock | None = None  # held while the generation is in use
    _fields: dict[int, bytes] = field(default_factory=dict)

    @property
    def model(self) -> int:
        return int(self.manifest["model"])

    @cached_property
    def users(self) -> Vectors:
        return Vectors(IdMap(_iterate_texts(self.user_ids)), self.user_vectors)

    @cached_property
    def columns(self) -> Columns:
        return Columns(self.catalogue, self.attributes)

    @cached_property
    def item_values(self) -> ItemValuesCache:
        return ItemValuesCache(self.columns)

    @cached_property
    def newest(self) -> npt.NDArray[np.int64]:
        """All rows, newest item first."""
        return np.argsort(-self.catalogue["created_at"].to_numpy(), kind="stable").astype(np.int64)

    @cached_property
    def shown(self) -> Mask | None:
        """The rows that could be shown at the build: available and not deleted; None: all rows."""
        shown = pc.and_(self.catalogue["available"], pc.invert(self.catalogue["deleted"])).to_numpy()
        shown.flags.writeable = False
        return None if shown.all() else shown

    def fields(self, row: int) -> bytes:
        """The item's fields as JSON, cached."""
        fields = self._fields.get(row)
        if fields is None:
            fields = self._fields[row] = fields_json(self.catalogue.slice(row, 1).to_pylist()[0])
        return fields

    def facts(self, row: int) -> ItemFields:
        """The item's fields by their names in conditions."""
        item = self.catalogue.slice(row, 1).to_pylist()[0]
        return item_fields(item, orjson.loads(item["attributes"] or "{}"))


def fields_json(item: Mapping[str, Any]) -> bytes:
    """The fields of an item in a response: title, categories, then attributes. An attribute named title appears as
    `attributes.title`."""
    fields = {"title": item["title"], "categories": item["categories"] or []}
    attributes = orjson.loads(item["attributes"] or "{}")
    hidden = {f"{PREFIX}{name}": attributes.pop(name) for name in fields if name in attributes}
    return orjson.dumps(fields | attributes | hidden)


def open_generation(path: Path, recorded: Mapping[str, Any] | None = None) -> Generation:
    """Open a generation: verify all checksums, check that the files fit each other (see `contents`), warm up.

    `recorded` is the manifest in the database. CorruptGeneration names the first bad file. When this returns, both
    indexes have answered queries and passed the filter self-test.
    """
    folder_lock = lock_for_serving(path)
    manifest = verify(path, recorded)
    if manifest.get("format") != FORMAT:
        raise CorruptGeneration(f"generation {path.name} was built by another version of nearfield")
    try:
        return replace(_opened(path, manifest), folder_lock=folder_lock)
    except (CorruptGeneration, MemoryError):
        raise
    except Exception as error:  # numpy, Arrow, FAISS and our code raise many types for a malformed file
        why = f"{type(error).__name__}: {error}"
        raise CorruptGeneration(f"the files of generation {path.name} do not fit together: {why}") from error


def _opened(path: Path, manifest: Mapping[str, Any]) -> Generation:
    contents = Contents(path, manifest)
    metric: Metric = manifest["metric"]
    items, factors = contents.arrays["items.npy"], contents.arrays["factors.npy"]
    learnt = contents.arrays.get("learnt.npy", items[: manifest["n_learnt"]])
    catalogue, encoder = contents.tables["catalogue.arrow"], path / "encoder.safetensors"
    similarity_vectors = _alike(path, contents, SimilarityVectors(items, factors))
    made = Generation(
        generation=manifest["generation"],
        manifest=manifest,
        metric=metric,
        items=IdMap(_iterate_texts(catalogue["item_id"])),
        vectors=items,
        fold_in=fold_in.restore(manifest["fold_in"], learnt, map_arrays(path / "fold_in.safetensors")),
        user_ids=contents.tables["users.arrow"]["user_id"],
        user_vectors=contents.arrays["users.npy"],
        users_to_items=MetricSearcher(
            _searcher(path, "metric", manifest, items, factors if metric == "cosine" else None), metric
        ),
        items_to_items=MetricSearcher(
            _searcher(path, "cosine", manifest, similarity_vectors.vectors, similarity_vectors.factors), "cosine"
        ),
        similarity_vectors=similarity_vectors,
        learnt=learnt,
        encoder=item_encoder.restore(safetensors.load_file(encoder)) if encoder.name in contents else None,
        catalogue=catalogue,
        attributes=contents.tables["attributes.arrow"],
        popularity_ranking=rank_by_popularity(np.array(contents.arrays["popularity.npy"])),
        behaviour=behaviour.restore(map_arrays(path / BEHAVIOUR), contents.size("n_rows")),
        codec=codecs.restore("features", safetensors.load_file(path / CODEC)) if CODEC in contents else None,
    )
    _self_test(made)
    return made


def _self_test(made: Generation) -> None:
    """Use every part that answers requests once; errors pass through."""
    n_rows, dim = made.vectors.shape
    check_fold_in(made.fold_in, len(made.learnt), dim)
    if made.encoder is not None:
        check_encoder(made.encoder, dim)
    if made.codec is not None:
        check_codec(made.codec, dim)
    if made.similarity_vectors.transform is not None:
        check_item_similarity(made.similarity_vectors.transform, dim, made.similarity_vectors.vectors.shape[1])
    for searcher, asked in (
        (made.users_to_items, made.vectors),
        (made.items_to_items, made.similarity_vectors.vectors),
    ):
        for row in np.linspace(0, n_rows - 1, min(WARM_QUERIES, n_rows), dtype=np.int64):
            _, found = searcher.search(asked[row : row + 1], 20)
            if found.max(initial=-1) >= n_rows:
                raise CorruptGeneration(f"an index of generation {made.generation} returns rows that do not exist")


def _alike(path: Path, contents: Contents, by_cosine: SimilarityVectors) -> SimilarityVectors:
    if LIKENESS not in contents:
        return by_cosine
    found = item_similarity.restore(safetensors.load_file(path / LIKENESS))
    return SimilarityVectors(contents.arrays["places.npy"], contents.arrays["place_factors.npy"], found)


def _searcher(
    path: Path, label: str, manifest: Mapping[str, Any], vectors: Matrix, factors: Matrix | None
) -> MeasurableSearcher:
    described = manifest["indexes"][label]
    recipe = Recipe(described["factory"], described["effort"])
    if described["file"] is None:
        return ExactSearcher(vectors, factors)
    index = _index(path / described["file"], vectors)
    return with_filter_selftest(make_searcher(index, recipe, vectors, factors))


def _index(path: Path, vectors: Matrix) -> Index:
    """Open an index file; CorruptGeneration where its size or dimension is not that of `vectors`."""
    if path.name.endswith(INT8_LISTS_SUFFIX):
        lists = Int8Lists(**map_arrays(path))
        lists.check(*vectors.shape)
        return lists
    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    if (index.ntotal, index.d) != vectors.shape:
        got = f"{index.ntotal} vectors of {index.d} dimensions"
        raise CorruptGeneration(f"{path} has {got}, expected {vectors.shape[0]} of {vectors.shape[1]}")
    return index


def _iterate_texts(column: pa.ChunkedArray) -> Iterator[str]:
    for start in range(0, len(column), ID_CHUNK):
        yield from column.slice(start, ID_CHUNK).to_pylist()
