"""The table of event kinds that `nearfield weights` shows and changes."""

from __future__ import annotations

from collections.abc import Mapping

from engine.values.event_kinds import KINDS, fold_word
from engine.values.events import Weighting
from engine.values.kind_synonyms import SYNONYMS

NAMES = ("kind", "weight", "also called")


def changed(weights: Mapping[str, float], changes: Mapping[str, float]) -> dict[str, float]:
    """`weights` with `changes`. Listed and built-in kinds keep their spelling; the case of `changes` does not count."""
    spelling = {fold_word(kind): kind for kind in (*KINDS, *weights)}
    return dict(weights) | {spelling.get(fold_word(kind), kind): weight for kind, weight in changes.items()}


def rows(weighting: Weighting) -> list[tuple[str, float, str]]:
    """Listed and built-in kinds with their weights, heaviest first, then the weight of any other kind."""
    weights = {kind: weighting.vocabulary.meaning(kind).weight for kind in (*weighting.kinds, *KINDS)}
    heaviest_first = sorted(weights.items(), key=lambda each: -each[1])
    listed = {fold_word(kind) for kind in weights}
    known = [(kind, weight, _synonyms(kind, listed)) for kind, weight in heaviest_first]
    return [*known, ("any other", weighting.other, "")]


def _synonyms(kind: str, listed: set[str]) -> str:
    """The other names of a kind, without those that have a row of their own."""
    return ", ".join(word for word in SYNONYMS.get(kind, "").split() if fold_word(word) not in listed)
