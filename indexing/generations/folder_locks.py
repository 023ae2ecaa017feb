"""Locks on the folder of a generation: exclusive while a process builds it, until it is recorded; shared while a
process serves it.

The kernel releases a lock when its process ends for any reason. The remains of a killed build can therefore be told
from a running build without a clock, which may jump. On file systems without such locks, no folder counts as abandoned.
"""

from __future__ import annotations

import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.private_folders import make_private_folder

RETRY_S = 0.01


class FolderLock:
    """A lock on a folder that survives a rename; released by `close` or when the object is garbage-collected."""

    def __init__(self, folder: Path):
        self.handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._close = weakref.finalize(self, os.close, self.handle)

    def acquire(self, mode: int) -> bool | None:
        """Take the lock without waiting; False where another process has it, None where locks are not supported."""
        try:
            fcntl.flock(self.handle, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True

    def is_of(self, folder: Path) -> bool:
        """Whether the locked folder still exists under this path."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self.handle), folder.stat())
        return False

    def close(self) -> None:
        self._close()


def create_locked(folder: Path) -> FolderLock:
    """Create `folder`; it does not count as abandoned while the lock is held."""
    while True:
        make_private_folder(folder)
        with suppress(FileNotFoundError):
            lock = FolderLock(folder)
            if lock.acquire(fcntl.LOCK_EX) is not False and lock.is_of(folder):
                return lock
        time.sleep(RETRY_S)  # another process is removing a folder of this name as abandoned


def lock_for_serving(folder: Path) -> FolderLock | None:
    """Lock `folder` so that it does not count as abandoned, recorded or not; None where it cannot be opened."""
    with suppress(OSError):
        lock = FolderLock(folder)
        lock.acquire(fcntl.LOCK_SH)
        return lock
    return None


@contextmanager
def lock_if_abandoned(folder: Path) -> Iterator[bool]:
    """Yield whether no process builds or serves `folder`; if so, the lock is held until the block ends."""
    try:
        lock = FolderLock(folder)
    except OSError:
        yield False
        return
    try:
        yield lock.acquire(fcntl.LOCK_EX) is True and lock.is_of(folder)
    finally:
        lock.close()
