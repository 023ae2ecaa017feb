"""RefusedGeneration: the active generation that cannot be served."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RefusedGeneration:
    """The active generation, if it is damaged or missing and another one is served."""

    generation: str
    why: str
    ours: bool = True  # built in this folder, hence damaged; False: built by a server with another folder
