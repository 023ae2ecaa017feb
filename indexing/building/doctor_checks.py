"""The checks of `nearfield doctor` on FAISS, compiled loops, generations and disk space."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import faiss

from engine.errors import NearfieldError
from engine.store import generations, spaces
from engine.store.database.connections import Database
from engine.store.doctor.checks import Check
from indexing.generations.generation import open_generation
from indexing.searchers.int8_searcher import compile_loops

LOW_DISK_BYTES = 2**30


def check_faiss() -> Check:
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    return "faiss", True, f"{faiss.__version__}, {faiss.get_compile_options().strip()}, {gpus} GPUs"


def check_loops() -> Check:
    """Compile the loops of int8 lists if they are not in the cache yet, so that servers start faster."""
    from engine.jit import cache_folder  # imports numba, which only int8 lists need
    from indexing.boosted import int8_boosted
    from indexing.searchers import int8_scan

    started = time.perf_counter()
    compile_loops()
    int8_boosted.compile_loops()
    where = cache_folder(int8_scan.search)
    kept = f"kept in {where}" if where else "compiled by every process: set NUMBA_CACHE_DIR to a folder to keep them in"
    return "compiled loops", True, f"ready in {time.perf_counter() - started:.1f} s, {kept}"


def check_disk(home: Path) -> Check:
    there = home if home.exists() else home.absolute().parent
    free = shutil.disk_usage(there).free
    return "disk", free > LOW_DISK_BYTES, f"{free / 2**30:.1f} GiB free at {there}; expected more than 1"


def check_generations(database: Database, folder: Path) -> list[Check]:
    """Verify the checksums of every recorded generation and open it."""
    found: list[Check] = []
    try:
        with database.connect() as conn:
            records = [
                (space, each) for space in spaces.list_all(conn) for each in generations.list_all(conn, space.key)
            ]
    except NearfieldError as error:
        return [("generations", False, str(error))]
    for space, record in records:
        served = ", served" if record.active else ""
        try:
            open_generation(folder / space.name / record.generation, record.manifest)
            detail, ok = f"whole{served}", True
        except NearfieldError as error:
            detail, ok = str(error), False
        found.append((f"generation {space.name}/{record.generation}", ok, detail))
    return found or [("generations", True, "none yet; run `nearfield reindex`")]
