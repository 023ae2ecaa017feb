"""Kept days: warnings where a shelf asks for what users were shown before the days that the server keeps."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from engine.errors import Problem

Loc = tuple[str | int, ...]
DAY_US = 86_400_000_000
SETTING = "NEARFIELD_KEEP_SHELVES_DAYS"


def beyond_kept_days(
    exclude: Collection[str],
    exclude_within: Iterable[tuple[str, int]],
    rotation_us: int | None,
    keep_days: int,
    loc: Loc = (),
) -> list[Problem]:
    """One warning for `impressed` and one for `rotation`, at their places in a shelf; times in microseconds. With
    `impressed` without a time, all that is kept counts, so it gets none unless nothing is kept."""
    asked = {"rotation": rotation_us or 0}
    if "impressed" in exclude:
        asked["exclude"] = dict(exclude_within).get("impressed", 1)
    return [
        Problem((*loc, name), _why(name, keep_days))
        for name, time_us in sorted(asked.items())
        if time_us > keep_days * DAY_US
    ]


def _why(name: str, keep_days: int) -> str:
    if keep_days == 0:
        return f"the server keeps no served shelves, so only impression events count; see {SETTING}"
    what = "a half-life" if name == "rotation" else "an `impressed`"
    kept = f"{keep_days} days"
    return (
        f"the server knows what users were shown for {kept}; expected {what} of at most {kept}, or a larger {SETTING}"
    )
