"""The manifest of a generation: every file with size and checksum, so that a damaged generation is never served."""

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
from engine.private_folders import FILE_MODE

MANIFEST = "manifest.json"
HASHERS = 2
NICE = 10  # a server keeps answering while it verifies the next generation


def seal(folder: Path, described: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of all files in `folder`, fsync everything and restrict access to the owner; returns the
    manifest."""
    paths = sorted(folder.iterdir())
    sizes = {path.name: path.stat().st_size for path in paths}
    hashes = _hashes(paths)
    full = dict(described) | {"files": {name: {"bytes": sizes[name], "sha256": hashes[name]} for name in sizes}}
    full["checksum"] = _digest(full)
    (folder / MANIFEST).write_text(json.dumps(full, indent=2))
    for path in folder.iterdir():
        path.chmod(FILE_MODE)
        fsync(path)
    fsync(folder)
    return full


def verify(path: Path, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Check size and SHA-256 of every file and return the manifest. FAISS does not detect flipped bits.

    CorruptGeneration also where the manifest belongs to another generation: its name must be that of the folder, and
    its checksum that of `recorded`, the manifest in the database. Another generation's files are valid by themselves
    and would be served in place of this one.
    """
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        if manifest["checksum"] != _digest(manifest):
            raise CorruptGeneration(f"{path / MANIFEST} is damaged: its checksum differs from its content")
        _check_identity(path, manifest, recorded)
        hashes = _hashes([path / name for name in manifest["files"]])
        for name, expected in manifest["files"].items():
            if (path / name).stat().st_size != expected["bytes"] or hashes[name] != expected["sha256"]:
                raise CorruptGeneration(
                    f"{path / name} is damaged: its size or checksum differs from the manifest; "
                    "rebuild the generation from PostgreSQL with `nearfield index`"
                )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptGeneration(f"generation {path.name} cannot be read: {error}") from error
    return manifest


def _check_identity(path: Path, manifest: Mapping[str, Any], recorded: Mapping[str, Any] | None) -> None:
    if manifest["generation"] != path.name:
        raise CorruptGeneration(f"{path} has the files of generation {manifest['generation']}, expected its own")
    if recorded is not None and manifest["checksum"] != recorded.get("checksum"):
        of = f"model {manifest['model']}, checksum {str(manifest['checksum'])[:12]}"
        expected = f"model {recorded.get('model')}, checksum {str(recorded.get('checksum'))[:12]}"
        raise CorruptGeneration(f"{path / MANIFEST} is not the one that was recorded: expected {expected}, got {of}")


def _hashes(paths: Sequence[Path]) -> dict[str, str]:
    """File name -> SHA-256; hashes the largest files first, so that the threads end at about the same time."""
    by_size = sorted(paths, key=lambda path: -path.stat().st_size)
    with ThreadPoolExecutor(HASHERS, "nearfield-hash", initializer=_lower_priority) as pool:
        return dict(zip((path.name for path in by_size), pool.map(_sha256, by_size), strict=True))


def _lower_priority() -> None:
    with suppress(OSError, AttributeError):  # not supported on all systems
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest without its checksum."""
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
