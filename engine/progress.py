"""Progress callbacks of long work: the name of the current step and the share done, 0 to 1."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]


def no_progress(what: str, share: float) -> None:
    """A progress callback that does nothing."""
