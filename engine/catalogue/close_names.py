"""Suggestions for a name that does not exist: the most similar names that do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MAX_NAMES, MAX_COMPARED = 3, 200  # one comparison takes ten microseconds


def close_names(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Up to three of `names` that are similar to `name`, ignoring case, the most similar first."""
    by_fold = {each.casefold(): each for each, _ in zip(names, range(MAX_COMPARED), strict=False)}
    return tuple(by_fold[each] for each in get_close_matches(name.casefold(), by_fold, MAX_NAMES))
