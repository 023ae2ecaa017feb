"""Under way: a generation's folder is locked by whoever makes it, until it is recorded, and by whoever serves it.

The kernel lets go of a lock with its process, however that ends. So what is left of a build that was killed is told
from one that goes on without asking a clock, which may have jumped. Where there are no such locks nobody can tell.
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

AGAIN_S = 0.01


class Hold:
    """On a folder, also where it is renamed meanwhile, until it is closed or nobody has it any more."""

    def __init__(self, folder: Path):
        self.handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._end = weakref.finalize(self, os.close, self.handle)

    def lock(self, how: int) -> bool | None:
        """Whether nobody else has it; None where there are no such locks."""
        try:
            fcntl.flock(self.handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True

    def is_of(self, folder: Path) -> bool:
        """Whether the folder is still there under that name."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self.handle), folder.stat())
        return False

    def close(self) -> None:
        self._end()


def made(folder: Path) -> Hold:
    """Make `folder`; nobody takes it for left over while this is held."""
    while True:
        make_private_folder(folder)
        with suppress(FileNotFoundError):
            hold = Hold(folder)
            if hold.lock(fcntl.LOCK_EX) is not False and hold.is_of(folder):
                return hold
        time.sleep(AGAIN_S)  # somebody is just removing it as left over


def served(folder: Path) -> Hold | None:
    """Nobody takes `folder` for left over while this is held, recorded or not; None where it cannot be opened."""
    with suppress(OSError):
        hold = Hold(folder)
        hold.lock(fcntl.LOCK_SH)
        return hold
    return None


@contextmanager
def left_over(folder: Path) -> Iterator[bool]:
    """Whether nobody is at work on `folder` or serves it; then nobody else removes it until the block ends."""
    try:
        hold = Hold(folder)
    except OSError:
        yield False
        return
    try:
        yield hold.lock(fcntl.LOCK_EX) is True and hold.is_of(folder)
    finally:
        hold.close()
