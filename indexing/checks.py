"""What `nearfield doctor` asks of FAISS, the generations and the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import faiss

from engine.errors import NearfieldError
from engine.store import generations, spaces
from engine.store.checks import Check
from engine.store.database import Database
from indexing.manifest import check

LOW_DISK_BYTES = 2**30


def check_faiss() -> Check:
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    return "faiss", True, f"{faiss.__version__}, {faiss.get_compile_options().strip()}, {gpus} GPUs"


def check_disk(home: Path) -> Check:
    there = home if home.exists() else home.absolute().parent
    free = shutil.disk_usage(there).free
    return "disk", free > LOW_DISK_BYTES, f"{free / 2**30:.1f} GiB free at {there}; expected more than 1"


def check_generations(database: Database, folder: Path) -> list[Check]:
    """Every recorded generation against its checksums."""
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
            check(folder / space.name / record.generation)
            detail, ok = f"whole{served}", True
        except NearfieldError as error:
            detail, ok = str(error), False
        found.append((f"generation {space.name}/{record.generation}", ok, detail))
    return found or [("generations", True, "none yet; run `nearfield reindex`")]
