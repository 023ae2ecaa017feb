"""Private folders: the data of a shop is accessible only to the owner of the process, as PostgreSQL's own folder is."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

log = structlog.get_logger()
FOLDER_MODE, FILE_MODE = 0o700, 0o600


def make_private_folder(folder: Path) -> Path:
    """Create a folder and its missing parents, accessible only to the owner."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return folder


def restrict_access(folder: Path) -> None:
    """Remove the permissions of group and others from a folder and its content, which an earlier version left open.

    A file that another user owns cannot be changed; a warning is logged.
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
        log.warning("a folder stays open to other users", folder=str(folder), error=str(error))


def _close(path: Path, mode: int) -> None:
    """Reduce the permissions to `mode`. A file that disappears meanwhile is ignored, and a link is not changed."""
    try:
        current = path.lstat().st_mode & 0o777
        if current & ~mode and not path.is_symlink():
            path.chmod(current & mode)
    except FileNotFoundError:
        pass
