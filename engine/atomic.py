"""Atomic file writes: after a crash a file has its old or its new content. Files are private to the user."""

from __future__ import annotations

import os
from pathlib import Path

from engine.private_folders import FILE_MODE, make_private_folder


def write(path: Path, content: bytes) -> None:
    """Replace `path`: write and sync a temporary file beside it, rename it over `path`, and sync the folder."""
    make_private_folder(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            partial.chmod(FILE_MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
