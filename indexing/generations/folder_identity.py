"""The identity of a folder of generations, recorded in every manifest as `origin`.

Servers that share a database but not a folder do not find each other's generations. Such a generation is not damaged
and must not be rebuilt, because the servers would replace each other's generations again and again.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine import atomic

NAME = ".origin"


def folder_identity(folder: Path) -> str:
    """A random id that a folder of generations keeps wherever it is mounted; created at the first call."""
    path = folder / NAME
    with suppress(FileNotFoundError):
        return path.read_text()
    temporary = folder / f"{NAME}.{os.getpid()}.{secrets.token_hex(4)}"
    atomic.write(temporary, secrets.token_hex(8).encode())
    with suppress(FileExistsError):  # another process was faster
        os.link(temporary, path)
    temporary.unlink()
    return path.read_text()


def built_in_folder(manifest: Mapping[str, Any], folder: Path) -> bool:
    """Whether a recorded generation was built in this folder; True for manifests older than `origin`."""
    origin = manifest.get("origin", "")
    with suppress(OSError):  # nothing was built in this folder, or it cannot be read
        return not origin or origin == (folder / NAME).read_text()
    return False
