"""The `exclude` parameter: a word, a list of relations, or an object with a window for each relation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from engine.errors import InputError
from engine.values.durations import SECOND_US, parse_duration

RELATIONS = ("seen", "purchased", "carted", "returned", "disliked", "impressed")
UNWANTED = frozenset({"returned", "disliked"})  # every word excludes these too
WORDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"seen": UNWANTED | {"seen", "purchased"}, "purchased": UNWANTED | {"purchased"}, "none": UNWANTED}
)
EXPECTED = (
    "expected seen, purchased or none, each with returned and disliked items, or a list of the only groups to exclude, "
    'such as ["disliked"], or an object with a time for each, such as {"purchased": "30d", "seen": null}; the groups '
    f"are {', '.join(RELATIONS)}"
)


class ExcludedRelations(NamedTuple):
    relations: frozenset[str] = frozenset()
    within: tuple[tuple[str, int], ...] = ()  # the relations that hold only for some time, and this time in us


def parse_exclude(exclude: object) -> ExcludedRelations:
    """The relations that a word, a list or an object excludes; ValueError for anything else."""
    if isinstance(exclude, str) and exclude in WORDS:
        return ExcludedRelations(WORDS[exclude])
    if isinstance(exclude, list | tuple) and all(isinstance(each, str) and each in RELATIONS for each in exclude):
        return ExcludedRelations(frozenset(exclude))
    if isinstance(exclude, dict) and all(relation in RELATIONS for relation in exclude):
        windows = {relation: _window(relation, text) for relation, text in exclude.items() if text is not None}
        return ExcludedRelations(frozenset(exclude), tuple(windows.items()))
    raise ValueError(EXPECTED)


def exclude_as_object(exclude: ExcludedRelations) -> dict[str, str | None]:
    """The object that `parse_exclude` parses to the same."""
    windows = dict(exclude.within)
    return {each: f"{windows[each] / SECOND_US:f}s" if each in windows else None for each in sorted(exclude.relations)}


def exclude_from_text(exclude: object) -> object:
    """A word, a JSON list, a JSON object or a list of words, given as one text or as several."""
    text = exclude[0] if isinstance(exclude, list) and len(exclude) == 1 else exclude
    if not isinstance(text, str) or not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(EXPECTED) from None


def _window(relation: str, text: object) -> int:
    try:
        return parse_duration(text, ())
    except InputError as error:
        raise ValueError(f"{relation}: {error}, or null for all times") from None
