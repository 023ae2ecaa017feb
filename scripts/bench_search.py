"""Latency and recall of top-20 cosine search for one client on one core, compared with peers.

All contenders index the same vectors and answer the same 1,000 queries, one at a time. Rounds of the contenders take
turns, and each figure is of the least disturbed round. Recall is measured against exact search; ties count as found.
The effort of a peer is raised until it reaches recall 0.99 on these queries or its maximum. nearfield uses the effort
that its build chose without these queries. `bare faiss` searches the index file of nearfield's generation by plain
FAISS calls; where FAISS has no such index, it searches an IVF index with as many lists at their least effort. With
`--filters`, nearfield also answers with 50, 10, 1 and 0.1% of the items allowed; `shortfalls` counts answers with fewer
items than k.

    python scripts/bench_search.py [--n 200000] [--dim 64] [--data FOLDER] [--peers usearch,pgvector] [--json]

`made_items` generates the vectors; `--data` names a folder with train.parquet and learns its item vectors instead.
Peers are not installed with nearfield; `peers` says how to install them. A missing peer is reported as skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from made_items import clustered, learnt, store
from peers import BareFaiss, Chroma, Contender, K, LanceDb, Nearfield, Pgvector, Usearch

from engine.errors import NearfieldError
from engine.settings import Settings
from engine.store.database.connections import Database, open_database
from engine.values.vectors import Matrix
from indexing.building.build import build_generation
from indexing.generations.generation import Generation, open_generation
from indexing.searchers.metric import normalise_rows

PEERS = ("pgvector", "usearch", "lancedb", "chroma")
QUERIES, ROUNDS, RECALL = 1000, 5, 0.99
SELECTIVITIES = (0.5, 0.1, 0.01, 0.001)
Mask = npt.NDArray[np.bool_]


def main() -> None:
    options = arguments()
    try:
        run(options)
    except NearfieldError as error:
        raise SystemExit(f"bench_search: {error}") from None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="learn item vectors from its train.parquet instead")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {', '.join(PEERS)}; empty: none")
    parser.add_argument("--recipe", default="auto")
    parser.add_argument("--filters", action="store_true")
    parser.add_argument("--json", action="store_true", help="one JSON line per contender")
    return parser.parse_args()


def run(options: argparse.Namespace) -> None:
    vectors, queries = _vectors(options)
    wanted = [name for name in options.peers.split(",") if name]
    with tempfile.TemporaryDirectory() as folder, open_database(Settings(home=Path(folder) / "home")) as database:
        space, version = store(database, "bench", vectors)
        started = time.perf_counter()
        name = build_generation(database, space, version, Path(folder), recipe=options.recipe)
        _say(f"generation built in {time.perf_counter() - started:.1f} s")
        path = Path(folder) / space.name / name
        generation = open_generation(path)
        contenders = _ours(generation, path, vectors) | _others(wanted, Path(folder), database, vectors)
        _one_core(contenders)
        exact = Exact(vectors, queries)
        for name, contender in contenders.items():
            _aim(contender, exact, name)
        for line in _measured({name: each.search for name, each in contenders.items()}, exact, vectors, 1.0):
            _show(line, options.json)
        for selectivity in SELECTIVITIES if options.filters else ():
            allowed = np.random.default_rng(7).random(len(vectors)) < selectivity
            allowed.flags.writeable = False  # as filter masks are, so that searchers cache their plans
            for line in _filtered(contenders["nearfield"], Exact(vectors, queries, allowed), vectors, selectivity):
                _show(line, options.json)


class Exact:
    """The true top K of every query, for measuring answers."""

    def __init__(self, vectors: Matrix, queries: Matrix, allowed: Mask | None = None):
        self.vectors, self.queries, self.allowed = vectors, queries, allowed
        rows = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
        self.wanted = min(K, len(rows))
        scores, _ = faiss.knn(queries, vectors[rows], self.wanted, metric=faiss.METRIC_INNER_PRODUCT)
        self.enough = scores[:, -1] - 1e-6

    def check(self, answers: list[Any]) -> tuple[float, int]:
        """Recall, and the number of answers with fewer than K rows."""
        found = 0
        for query, enough, rows in zip(self.queries, self.enough, answers, strict=True):
            kept = np.unique([row for row in rows if row >= 0]).astype(np.int64)
            if self.allowed is not None and not self.allowed[kept].all():
                raise SystemExit("bench_search: an answer has rows that the filter excludes")
            found += min(int((self.vectors[kept] @ query >= enough).sum()), self.wanted)
        short = sum(int((np.asarray(rows) >= 0).sum()) < self.wanted for rows in answers)
        return found / max(self.wanted * len(answers), 1), short


def _vectors(options: argparse.Namespace) -> tuple[Matrix, Matrix]:
    """Unit vectors to index, and queries: fresh draws of the generator, or held-out learnt vectors."""
    if options.data is None:
        return normalise_rows(clustered(options.n, options.dim)), normalise_rows(
            clustered(QUERIES, options.dim, seed=1)
        )
    made = learnt(options.data, options.dim)
    made = normalise_rows(made[np.linalg.norm(made, axis=1) > 0])
    order = np.random.default_rng(1).permutation(len(made))
    held = min(QUERIES, len(made) // 10)
    return made[order[held:]], made[order[:held]]


def _ours(generation: Generation, path: Path, vectors: Matrix) -> dict[str, Contender]:
    recipe = generation.manifest["indexes"]["cosine"]
    _say(f"nearfield: {recipe}")
    found: dict[str, Contender] = {"nearfield": Nearfield(generation)}
    if recipe["file"] is not None:
        found["bare faiss"] = BareFaiss(path, recipe, vectors)
    return found


def _others(wanted: list[str], folder: Path, database: Database, vectors: Matrix) -> dict[str, Contender]:
    made: dict[str, Callable[[], Contender]] = {
        "pgvector": lambda: Pgvector(database, vectors),
        "usearch": lambda: Usearch(vectors),
        "lancedb": lambda: LanceDb(folder / "lancedb", vectors),
        "chroma": lambda: Chroma(vectors),
    }
    found: dict[str, Contender] = {}
    for name in wanted:
        started = time.perf_counter()
        try:
            found[name] = made[name]()
        except ImportError:
            print(f"{name}: skipped, it is not installed", file=sys.stderr)
            continue
        except KeyError:
            raise SystemExit(f"bench_search: expected peers of {', '.join(PEERS)}, got {name!r}") from None
        _say(f"{name} built in {time.perf_counter() - started:.1f} s")
    return found


def _one_core(contenders: dict[str, Contender]) -> None:
    """Pin all threads of this process, and the PostgreSQL server that it uses, to one core."""
    faiss.omp_set_num_threads(1)
    core = {max(os.sched_getaffinity(0))}
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), core)
    if isinstance(contenders.get("pgvector"), Pgvector):
        os.sched_setaffinity(contenders["pgvector"].raw.info.backend_pid, core)
    _say(f"{threading.active_count()} threads on core {core}")


def _aim(contender: Contender, exact: Exact, name: str) -> None:
    """The least effort that reaches the recall, or the largest effort."""

    def reached(effort: int) -> float:
        contender.aim(effort)
        return exact.check([contender.search(query) for query in exact.queries])[0]

    efforts = contender.efforts
    at = bisect_left(efforts, True, key=lambda effort: reached(effort) >= RECALL)
    effort = efforts[min(at, len(efforts) - 1)]
    recall = reached(effort)
    _say(f"{name}: effort {effort}, recall {recall:.4f}")


def _measured(
    searches: dict[str, Callable[[Matrix], Any]], exact: Exact, vectors: Matrix, selectivity: float
) -> list[dict[str, Any]]:
    """A line for each contender; rounds of all contenders take turns."""
    best: dict[str, npt.NDArray[np.float64]] = {}
    answers: dict[str, list[Any]] = {}
    for _ in range(ROUNDS):
        for name, search in searches.items():
            seconds, answers[name] = _round(search, exact.queries)
            if name not in best or seconds.sum() < best[name].sum():
                best[name] = seconds
    lines = []
    for name, seconds in best.items():
        recall, short = exact.check(answers[name])
        lines.append(
            {
                "contender": name,
                "n": len(vectors),
                "dim": vectors.shape[1],
                "selectivity": selectivity,
                "qps": round(len(seconds) / seconds.sum()),
                "p50_ms": round(float(np.percentile(seconds, 50)) * 1e3, 4),
                "p99_ms": round(float(np.percentile(seconds, 99)) * 1e3, 4),
                "recall": round(recall, 4),
                "shortfalls": short,
            }
        )
    return lines


def _round(search: Callable[[Matrix], Any], queries: Matrix) -> tuple[npt.NDArray[np.float64], list[Any]]:
    seconds, answers = np.empty(len(queries)), []
    for at, query in enumerate(queries):
        started = time.perf_counter()
        answers.append(search(query))
        seconds[at] = time.perf_counter() - started
    return seconds, answers


def _filtered(nearfield: Contender, exact: Exact, vectors: Matrix, selectivity: float) -> list[dict[str, Any]]:
    assert isinstance(nearfield, Nearfield)
    return _measured({"nearfield": lambda query: nearfield.search(query, exact.allowed)}, exact, vectors, selectivity)


def _show(line: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(line), flush=True)
    else:
        print("  ".join(f"{name} {value}" for name, value in line.items()), flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
