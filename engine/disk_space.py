"""Room: whether a disk is full, said with where it is, what is free and what is needed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import DiskFull

FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
MIN_FREE_BYTES = 64 * 2**20  # with less PostgreSQL ends sooner or later: its log grows by files of 16 MiB


def free_bytes(path: Path) -> int:
    """Of the disk that holds `path`, or the nearest folder above that is there."""
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def disk_full_error(path: Path, needed: int, what: str, then: str) -> DiskFull:
    """The error that says so: `what` needs room, and `then` is what to do once there is some."""
    free = free_bytes(path)
    return DiskFull(
        f"the disk that holds {path} is full: {free / 2**20:,.0f} MiB are free and {what} needs at least "
        f"{needed / 2**20:,.0f} MiB; free some, {then}"
    )


@contextmanager
def raising_disk_full(path: Path, needed: int, what: str, then: str) -> Iterator[None]:
    """DiskFull in place of what says so, be it the operating system or a library that quotes it."""
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) in FULL_ERRNOS or os.strerror(errno.ENOSPC) in str(error):
            raise disk_full_error(path, needed, what, then) from error
        raise
