"""Generation: the immutable folder that is served, opened only if whole; its files are memory-mapped, not copied."""

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

from engine.catalogue.columns import Columns
from engine.catalogue.predicate import PREFIX
from engine.codec import feature_codec as codecs
from engine.codec.feature_codec import FeatureCodec
from engine.errors import CorruptGeneration
from engine.latent_space import fold_in, item_encoder, item_similarity
from engine.latent_space.item_encoder import ItemEncoder
from engine.latent_space.space import FoldIn, Metric
from engine.recommending.popularity import PopularityRanking, rank_by_popularity
from engine.recommending.values.searcher import Mask
from engine.values.ids import IdMap
from engine.values.vectors import Matrix, Vectors
from indexing.generations.contents import Contents, check_codec, check_encoder, check_fold_in, check_likeness
from indexing.generations.folder_locks import Hold, served
from indexing.generations.generation_writer import CODEC, FORMAT, INT8_LISTS_SUFFIX
from indexing.generations.manifest import check
from indexing.generations.memory_map import mapped
from indexing.generations.similarity_vectors import LIKENESS, Alike
from indexing.recipes.recipe import Index, Recipe, make_searcher, with_filter_selftest
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_lists import Int8Lists
from indexing.searchers.metric import MeasurableScorer, MeasurableSearcher, MetricSearcher

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
    users_to_items: MeasurableScorer
    items_to_items: MeasurableScorer
    alike: Alike  # what `items_to_items` searches
    learnt: Matrix  # (n_learnt, dim), the columns of `fold_in`; `vectors` has the caller's own in their place
    encoder: ItemEncoder | None
    catalogue: pa.Table
    attributes: pa.Table  # engine.catalogue.columns.SCHEMA
    popularity_ranking: PopularityRanking  # what was popular, by row
    codec: FeatureCodec | None = None  # of a model that learnt from feature records
    hold: Hold | None = None  # on its folder, for as long as it is in use
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
    """What an answer shows of a catalogue row: title, categories, then its attributes; `attributes.title` is one called
    title."""
    fields = {"title": item["title"], "categories": item["categories"] or []}
    attributes = orjson.loads(item["attributes"] or "{}")
    hidden = {f"{PREFIX}{name}": attributes.pop(name) for name in fields if name in attributes}
    return orjson.dumps(fields | attributes | hidden)


def open_generation(path: Path, recorded: Mapping[str, Any] | None = None) -> Generation:
    """Open a generation after checking every file against its checksum; CorruptGeneration names the first bad one.

    `recorded` is the manifest as its record has it. What is in the files must fit too, see `contents`. It is warm when
    this returns: both indexes have answered, and the filters of each were tested on it.
    """
    hold = served(path)
    manifest = check(path, recorded)
    if manifest.get("format") != FORMAT:
        raise CorruptGeneration(f"generation {path.name} was built by another version of nearfield")
    try:
        return replace(_opened(path, manifest), hold=hold)
    except (CorruptGeneration, MemoryError):
        raise
    except Exception as error:  # of numpy, Arrow, FAISS and ours: what they read is not what they wrote
        why = f"{type(error).__name__}: {error}"
        raise CorruptGeneration(f"the files of generation {path.name} do not fit together: {why}") from error


def _opened(path: Path, manifest: Mapping[str, Any]) -> Generation:
    contents = Contents(path, manifest)
    metric: Metric = manifest["metric"]
    items, factors = contents.arrays["items.npy"], contents.arrays["factors.npy"]
    learnt = contents.arrays.get("learnt.npy", items[: manifest["n_learnt"]])
    catalogue, encoder = contents.tables["catalogue.arrow"], path / "encoder.safetensors"
    alike = _alike(path, contents, Alike(items, factors))
    made = Generation(
        generation=manifest["generation"],
        manifest=manifest,
        metric=metric,
        items=IdMap(_texts(catalogue["item_id"])),
        vectors=items,
        fold_in=fold_in.restore(manifest["fold_in"], learnt, mapped(path / "fold_in.safetensors")),
        user_ids=contents.tables["users.arrow"]["user_id"],
        user_vectors=contents.arrays["users.npy"],
        users_to_items=MetricSearcher(
            _searcher(path, "metric", manifest, items, factors if metric == "cosine" else None), metric
        ),
        items_to_items=MetricSearcher(_searcher(path, "cosine", manifest, alike.places, alike.factors), "cosine"),
        alike=alike,
        learnt=learnt,
        encoder=item_encoder.restore(safetensors.load_file(encoder)) if encoder.name in contents else None,
        catalogue=catalogue,
        attributes=contents.tables["attributes.arrow"],
        popularity_ranking=rank_by_popularity(np.array(contents.arrays["popularity.npy"])),
        codec=codecs.restore("features", safetensors.load_file(path / CODEC)) if CODEC in contents else None,
    )
    _try(made)
    return made


def _try(made: Generation) -> None:
    """Everything that answers requests answers once, whatever that raises."""
    n_rows, dim = made.vectors.shape
    check_fold_in(made.fold_in, len(made.learnt), dim)
    if made.encoder is not None:
        check_encoder(made.encoder, dim)
    if made.codec is not None:
        check_codec(made.codec, dim)
    if made.alike.likeness is not None:
        check_likeness(made.alike.likeness, dim, made.alike.places.shape[1])
    for searcher, asked in ((made.users_to_items, made.vectors), (made.items_to_items, made.alike.places)):
        for row in np.linspace(0, n_rows - 1, min(WARM_QUERIES, n_rows), dtype=np.int64):
            _, found = searcher.search(asked[row : row + 1], 20)
            if found.max(initial=-1) >= n_rows:
                raise CorruptGeneration(f"an index of generation {made.generation} finds rows that there are none of")


def _alike(path: Path, contents: Contents, by_cosine: Alike) -> Alike:
    if LIKENESS not in contents:
        return by_cosine
    found = item_similarity.restore(safetensors.load_file(path / LIKENESS))
    return Alike(contents.arrays["places.npy"], contents.arrays["place_factors.npy"], found)


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
    """CorruptGeneration where it is not one of so many vectors of so many dimensions."""
    if path.name.endswith(INT8_LISTS_SUFFIX):
        lists = Int8Lists(**mapped(path))
        lists.check(*vectors.shape)
        return lists
    index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    if (index.ntotal, index.d) != vectors.shape:
        got = f"{index.ntotal} vectors of {index.d} dimensions"
        raise CorruptGeneration(f"{path} has {got}, expected {vectors.shape[0]} of {vectors.shape[1]}")
    return index


def _texts(column: pa.ChunkedArray) -> Iterator[str]:
    for start in range(0, len(column), CHUNK):
        yield from column.slice(start, CHUNK).to_pylist()
