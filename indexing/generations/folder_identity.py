"""Origin: in which folder of generations one was built. Servers with folders of their own over one database do not find
each other's generations, which is no damage to be mended: each would take the place of the other's, again and again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine import atomic

NAME = ".origin"


def origin(folder: Path) -> str:
    """What a folder of generations is known by, wherever it is mounted; made at the first call."""
    path = folder / NAME
    with suppress(FileNotFoundError):
        return path.read_text()
    mine = folder / f"{NAME}.{os.getpid()}.{secrets.token_hex(4)}"
    atomic.write(mine, secrets.token_hex(8).encode())
    with suppress(FileExistsError):  # another was sooner
        os.link(mine, path)
    mine.unlink()
    return path.read_text()


def is_ours(manifest: Mapping[str, Any], folder: Path) -> bool:
    """Whether a recorded generation was built in this folder; one of before there were origins is taken as such."""
    built_in = manifest.get("origin", "")
    with suppress(OSError):  # nothing was built here, or nobody can tell
        return not built_in or built_in == (folder / NAME).read_text()
    return False
