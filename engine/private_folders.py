"""Private: folders that hold what a shop knows, open to the user they belong to alone, as PostgreSQL's own is."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

log = structlog.get_logger()
FOLDER_MODE, FILE_MODE = 0o700, 0o600


def make_private_folder(folder: Path) -> Path:
    """Make a folder, with those above it, that nobody else can open."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return folder


def restrict_access(folder: Path) -> None:
    """Take from all others what they may do with a folder and everything in it, as an earlier version made it.

    What belongs to somebody else cannot be changed, and is told.
    """
    if not folder.is_dir():
        return
    try:
        _close(folder, FOLDER_MODE)
        for path, folders, files in os.walk(folder):
            for name in folders:
                _close(Path(path, name), FOLDER_MODE)
            for name in files:
                _close(Path(path, name), FILE_MODE)
    except PermissionError as error:
        log.warning("a folder is open to others", folder=str(folder), error=str(error))


def _close(path: Path, mode: int) -> None:
    """What goes away meanwhile needs it no more; a link is left as it is."""
    try:
        now = path.lstat().st_mode & 0o777
        if now & ~mode and not path.is_symlink():
            path.chmod(now & mode)
    except FileNotFoundError:
        pass
