"""Kinds of events: the meaning and weight of the word that a shop uses for a kind.

A word is looked up among the kinds that the space lists, then among the synonyms of the built-in kinds. Case and
separators are ignored. The original word is stored, so that a shop can list its weight later.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

from engine.values.kind_synonyms import SYNONYMS

KIND_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"view": 1.0, "click": 1.0, "cart": 3.0, "like": 3.0, "purchase": 5.0, "return": -5.0, "dislike": -3.0}
)
REVERSES: Mapping[str, str] = MappingProxyType({"remove_from_cart": "cart", "unlike": "like"})  # with minus its weight
IMPRESSION = "impression"  # weighs nothing: the user did not choose to see the item
KINDS = (*KIND_WEIGHTS, *REVERSES, IMPRESSION)
NEGATIVE_KINDS = ("return", "dislike", *REVERSES)
MAX_CACHED_WORDS = 4096  # of a space; bounds the cache, as callers may send any number of different words
MAX_REPORTED_WORDS = 100  # in one response
SEPARATORS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class KindMeaning:
    kind: str | None  # one of KINDS; None for a word that only the shop lists, or that is unknown
    weight: float
    is_known: bool  # whether the space lists the word, or it is a synonym of a built-in kind


def fold_word(word: str) -> str:
    """The word without case and separators: `Order Completed`, `order-completed` and `orderCompleted` are equal."""
    return SEPARATORS.sub("", unicodedata.normalize("NFKC", word).casefold())


KIND_OF_WORD: Mapping[str, str] = MappingProxyType(
    {fold_word(word): kind for kind, words in SYNONYMS.items() for word in (kind, *words.split())}
)


class Vocabulary:
    """The meaning of words for event kinds in a space that lists the weights `kinds`; an unknown word weighs `other`.

    A built-in kind that is not listed weighs `other` as well, except for impressions (0) and for kinds that reverse
    another one (minus its weight).
    """

    def __init__(self, kinds: Mapping[str, float], other: float):
        self._listed, self._other = kinds, other
        self._folded = {fold_word(word): weight for word, weight in kinds.items() if fold_word(word)}
        self._cache: dict[str, KindMeaning] = {}

    def meaning(self, word: str) -> KindMeaning:
        found = self._cache.get(word)
        if found is None:
            if len(self._cache) >= MAX_CACHED_WORDS:
                self._cache.clear()
            found = self._cache[word] = self._look_up(word)
        return found

    def kind(self, word: str) -> str | None:
        return self.meaning(word).kind

    def unknown_words(self, counts: Mapping[str, int]) -> dict[str, int]:
        """The words among `counts` that have no known weight, with their counts; at most MAX_REPORTED_WORDS."""
        return dict(
            islice(((word, n) for word, n in counts.items() if not self.meaning(word).is_known), MAX_REPORTED_WORDS)
        )

    def _look_up(self, word: str) -> KindMeaning:
        folded = fold_word(word)
        kind = KIND_OF_WORD.get(folded)
        listed = self._listed.get(word, self._folded.get(folded))
        if listed is not None:
            if kind is not None and folded != fold_word(kind) and (listed < 0) != (kind in NEGATIVE_KINDS):
                kind = None  # the sign of the listed weight shows that the shop uses the word for something else
            return KindMeaning(kind, listed, True)
        if kind is None:
            return KindMeaning(None, self._other, False)
        return KindMeaning(kind, self._built_in_weight(kind), True)

    def _built_in_weight(self, kind: str) -> float:
        listed = self._folded.get(fold_word(kind))
        if listed is not None:
            return listed
        if kind in REVERSES:
            return -self._built_in_weight(REVERSES[kind])
        return 0.0 if kind == IMPRESSION else self._other
