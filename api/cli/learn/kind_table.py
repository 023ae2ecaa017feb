"""The kinds of events as `nearfield weights` shows and changes them."""

from __future__ import annotations

from collections.abc import Mapping

from engine.values.event_kinds import KINDS, fold_word
from engine.values.events import Weighting
from engine.values.kind_synonyms import SYNONYMS

NAMES = ("kind", "weight", "also called")


def changed(listed: Mapping[str, float], given: Mapping[str, float]) -> dict[str, float]:
    """The list with what is given; a kind that is there, or one of ours, keeps its spelling."""
    spelt = {fold_word(kind): kind for kind in (*KINDS, *listed)}
    return dict(listed) | {spelt.get(fold_word(kind), kind): weight for kind, weight in given.items()}


def rows(weighting: Weighting) -> list[tuple[str, float, str]]:
    """What is listed and what is ours, the heaviest first, then anything else."""
    known = {kind: weighting.vocabulary.meaning(kind).weight for kind in (*weighting.kinds, *KINDS)}
    heaviest_first = sorted(known.items(), key=lambda each: -each[1])
    elsewhere = {fold_word(kind) for kind in known}
    told = [(kind, weight, _synonyms(kind, elsewhere)) for kind, weight in heaviest_first]
    return [*told, ("any other", weighting.other, "")]


def _synonyms(kind: str, elsewhere: set[str]) -> str:
    return ", ".join(word for word in SYNONYMS.get(kind, "").split() if fold_word(word) not in elsewhere)
