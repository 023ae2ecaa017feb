"""Systems that bench_search.py compares. Each builds an index, has efforts, and answers one query with rows.

Measured versions: usearch 2.26.6, lancedb 0.40.0, chromadb 1.5.9 (`pip install --constraint constraints.txt usearch
lancedb chromadb`). pgvector is the one of the embedded PostgreSQL. A package is imported only if it is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import numpy.typing as npt

from engine.store.database import bulk_copy
from engine.store.database.connections import Database
from engine.values.vectors import Matrix
from indexing.generations.generation import Generation
from indexing.recipes.recipe import INT8_FACTORY, build_index, effort_ladder, ladder

K = 20
Rows = npt.NDArray[np.int64]


class Contender(Protocol):
    efforts: Sequence[int]

    def aim(self, effort: int) -> None: ...
    def search(self, query: Matrix) -> Any:
        """The rows of the K vectors nearest to a unit (dim,) query by cosine, best first."""


class Nearfield:
    """The searcher of an opened generation, at the effort that its build chose."""

    efforts = (0,)

    def __init__(self, generation: Generation):
        self._searcher = generation.items_to_items

    def aim(self, effort: int) -> None: ...

    def search(self, query: Matrix, allowed: npt.NDArray[np.bool_] | None = None) -> Rows:
        return self._searcher.search(query[None], K, allowed)[1][0]


class BareFaiss:
    """The index file of the generation, searched by FAISS from Python.

    FAISS cannot read lists of 8-bit codes. Instead it gets an IVF index with as many lists in float16, its fastest with
    recall .99, at the least effort that reaches this recall.
    """

    def __init__(self, path: Path, recipe: Mapping[str, Any], vectors: Matrix):
        lists = INT8_FACTORY.fullmatch(recipe["factory"])
        self._index = (
            build_index(f"{lists[1]},SQfp16", vectors) if lists else faiss.read_index(str(path / recipe["file"]))
        )
        self.efforts = effort_ladder(self._index) if lists else (recipe["effort"],)

    def aim(self, effort: int) -> None:
        graph = isinstance(self._index, faiss.IndexHNSW)
        self._parameters = (
            faiss.SearchParametersHNSW(efSearch=effort) if graph else faiss.SearchParametersIVF(nprobe=effort)
        )

    def search(self, query: Matrix) -> Rows:
        return self._index.search(query[None], K, params=self._parameters)[1][0]


class Pgvector:
    """HNSW with its defaults (m 16, ef_construction 64) on unit vectors; a prepared statement with a binary cursor."""

    efforts = ladder(40, 1000)

    def __init__(self, database: Database, vectors: Matrix):
        self._context = database.connect()
        conn = self._context.__enter__()
        dim = vectors.shape[1]
        conn.exec_driver_sql(f"CREATE TABLE peer (model_key bigint, key bigint, vector vector({dim}))")
        bulk_copy.write_vectors(conn, "peer", 0, np.arange(len(vectors)), vectors)
        conn.exec_driver_sql("SET maintenance_work_mem = '2GB'")
        conn.exec_driver_sql("CREATE INDEX ON peer USING hnsw (vector vector_cosine_ops)")
        conn.exec_driver_sql("ANALYZE peer")
        conn.commit()
        self.raw = bulk_copy.driver_connection(conn)
        self.raw.autocommit = True
        self.raw.execute("SET max_parallel_workers_per_gather = 0")
        self._cursor = self.raw.cursor(binary=True)

    def aim(self, effort: int) -> None:
        self.raw.execute(f"SET hnsw.ef_search = {effort}")

    def search(self, query: Matrix) -> list[int]:
        text = "[" + ",".join(map(str, query.tolist())) + "]"
        statement = f"SELECT key FROM peer ORDER BY vector <=> %s::vector LIMIT {K}"
        return [row[0] for row in self._cursor.execute(statement, (text,), prepare=True).fetchall()]


class Usearch:
    efforts = ladder(32, 1024)

    def __init__(self, vectors: Matrix):
        from usearch.index import Index

        self._index = Index(ndim=vectors.shape[1], metric="cos", dtype="f32")
        self._index.add(np.arange(len(vectors)), vectors)

    def aim(self, effort: int) -> None:
        self._index.expansion_search = effort

    def search(self, query: Matrix) -> Rows:
        return np.asarray(self._index.search(query, K, threads=1).keys, dtype=np.int64)


class LanceDb:
    """IVF without compression; its compressed indexes stayed below recall .99."""

    efforts = ladder(4, 128)

    def __init__(self, folder: Path, vectors: Matrix):
        import lancedb
        import pyarrow as pa

        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        table = pa.table({"key": pa.array(np.arange(len(vectors))), "vector": column})
        self._table = lancedb.connect(folder).create_table("peer", table)
        lists = int(len(vectors) ** 0.5)
        self._table.create_index(metric="cosine", index_type="IVF_FLAT", num_partitions=lists)
        self._effort = 1

    def aim(self, effort: int) -> None:
        self._effort = effort

    def search(self, query: Matrix) -> Rows:
        found = (
            self._table.search(query)
            .distance_type("cosine")
            .nprobes(self._effort)
            .limit(K)
            .select(["key", "_distance"])
        )
        return found.to_arrow()["key"].to_numpy()


class Chroma:
    efforts = ladder(32, 800)

    def __init__(self, vectors: Matrix):
        import chromadb

        settings = chromadb.Settings(anonymized_telemetry=False)
        options: Any = {"hnsw": {"space": "cosine"}}
        self._all = chromadb.EphemeralClient(settings).create_collection("peer", configuration=options)
        ids = [str(row) for row in range(len(vectors))]
        for start in range(0, len(vectors), 5000):
            self._all.add(ids=ids[start : start + 5000], embeddings=vectors[start : start + 5000])

    def aim(self, effort: int) -> None:
        self._all.modify(configuration={"hnsw": {"ef_search": effort}})

    def search(self, query: Matrix) -> list[int]:
        return [int(id_) for id_ in self._all.query(query_embeddings=[query], n_results=K, include=[])["ids"][0]]
