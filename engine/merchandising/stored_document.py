"""StoredDocument: the body of a preset with its name and version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class StoredDocument:
    name: str
    version: int
    body: Mapping[str, Any]
