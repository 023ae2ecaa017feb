"""Manifest: what a generation is made of, file by file with sizes and checksums, so that only a whole one is served."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.atomic import fsync
from engine.errors import CorruptGeneration

MANIFEST = "manifest.json"
HASHERS = 2
NICE = 10  # a server goes on answering while it checks the next generation


def seal(folder: Path, described: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of everything in `folder` and make all of it durable; the manifest."""
    paths = sorted(folder.iterdir())
    sizes = {path.name: path.stat().st_size for path in paths}
    hashes = _hashes(paths)
    full = dict(described) | {"files": {name: {"bytes": sizes[name], "sha256": hashes[name]} for name in sizes}}
    full["checksum"] = _digest(full)
    (folder / MANIFEST).write_text(json.dumps(full, indent=2))
    for path in [*folder.iterdir(), folder]:
        fsync(path)
    return full


def check(path: Path) -> dict[str, Any]:
    """The manifest, once every file has the size and SHA-256 it was written with; FAISS notices no flipped bit."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        if manifest["checksum"] != _digest(manifest):
            raise CorruptGeneration(f"{path / MANIFEST} is not what was written")
        hashes = _hashes([path / name for name in manifest["files"]])
        for name, expected in manifest["files"].items():
            if (path / name).stat().st_size != expected["bytes"] or hashes[name] != expected["sha256"]:
                raise CorruptGeneration(
                    f"{path / name} is not what was written; it is rebuilt from PostgreSQL by `nearfield index`"
                )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptGeneration(f"generation {path.name} cannot be read: {error}") from error
    return manifest


def _hashes(paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 by name; largest first, so that no thread is left with a large one at the end."""
    by_size = sorted(paths, key=lambda path: -path.stat().st_size)
    with ThreadPoolExecutor(HASHERS, "nearfield-hash", initializer=_be_nice) as pool:
        return dict(zip((path.name for path in by_size), pool.map(_sha256, by_size), strict=True))


def _be_nice() -> None:
    with suppress(OSError, AttributeError):  # where a thread has no priority of its own, all is as it was
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(manifest: Mapping[str, Any]) -> str:
    """Of everything in the manifest but the checksum itself."""
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
