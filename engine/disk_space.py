"""Detection of a full disk, and the error that names the path, the free bytes and the needed bytes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import DiskFull

FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
MIN_FREE_BYTES = 64 * 2**20  # with less, PostgreSQL soon stops: its write-ahead log grows by files of 16 MiB


def free_bytes(path: Path) -> int:
    """Free bytes of the disk that holds `path`; if `path` does not exist, of its nearest existing parent folder."""
    existing = next(each for each in (path, *path.absolute().parents) if each.exists())
    return shutil.disk_usage(existing).free


def disk_full_error(path: Path, needed: int, what: str, then: str) -> DiskFull:
    """The error that `what` needs `needed` bytes; `then` tells what to do once space is free."""
    free = free_bytes(path)
    return DiskFull(
        f"the disk that holds {path} is full: {free / 2**20:,.0f} MiB are free and {what} needs at least "
        f"{needed / 2**20:,.0f} MiB; free some space, {then}"
    )


@contextmanager
def raising_disk_full(path: Path, needed: int, what: str, then: str) -> Iterator[None]:
    """Raise DiskFull instead of an error of the operating system, or of a library that quotes it, for a full disk."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) in FULL_ERRNOS or os.strerror(errno.ENOSPC) in str(error):
            raise disk_full_error(path, needed, what, then) from error
        raise
