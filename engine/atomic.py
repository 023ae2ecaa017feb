"""A file that is there as a whole or not at all, whenever the process or the machine stops. Nobody else can read it."""

from __future__ import annotations

import os
from pathlib import Path

from engine.private_folders import FILE_MODE, make_private_folder


def write(path: Path, content: bytes) -> None:
    """Replace `path`: a neighbour is written and synced, then renamed over it, then the folder is synced."""
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
    """What was written to a file, or which files a folder has, is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
