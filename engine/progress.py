"""Progress of anything that takes a while: what happens now and the share done."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]


def no_progress(what: str, share: float) -> None:
    """Progress that nobody watches."""
