"""Kinds of events: what a word for one means, and what it is worth.

A word is looked for among those that the space lists, then among the usual synonyms of ours. Case, spaces, hyphens and
the like make no difference. What is stored is the word as it came, so that a shop can say later what it meant by it.
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
REVERSES: Mapping[str, str] = MappingProxyType({"remove_from_cart": "cart", "unlike": "like"})  # as much as it gave
IMPRESSION = "impression"  # says nothing of taste
KINDS = (*KIND_WEIGHTS, *REVERSES, IMPRESSION)
NEGATIVE_KINDS = ("return", "dislike", *REVERSES)
MAX_CACHED_WORDS = 4096  # words of a space; what callers send has no end
MAX_REPORTED_WORDS = 100  # words in one answer
SEPARATORS = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class KindMeaning:
    kind: str | None  # one of KINDS; None for a word of the shop's own, or one that nobody knows
    weight: float
    is_known: bool  # whether it is listed, or one of ours


def fold_word(word: str) -> str:
    """Without case and what separates words: `Order Completed`, `order-completed` and `orderCompleted` are one."""
    return SEPARATORS.sub("", unicodedata.normalize("NFKC", word).casefold())


KIND_OF_WORD: Mapping[str, str] = MappingProxyType(
    {fold_word(word): kind for kind, words in SYNONYMS.items() for word in (kind, *words.split())}
)


class Vocabulary:
    """What words mean in a space that lists `kinds`; anything that is neither listed nor one of ours weighs `other`.

    A kind of ours that is not listed weighs `other` too, but for those that take another away, or weigh nothing.
    """

    def __init__(self, kinds: Mapping[str, float], other: float):
        self._listed, self._other = kinds, other
        self._folded = {fold_word(word): weight for word, weight in kinds.items() if fold_word(word)}
        self._made: dict[str, KindMeaning] = {}

    def meaning(self, word: str) -> KindMeaning:
        found = self._made.get(word)
        if found is None:
            if len(self._made) >= MAX_CACHED_WORDS:
                self._made.clear()
            found = self._made[word] = self._understood(word)
        return found

    def kind(self, word: str) -> str | None:
        return self.meaning(word).kind

    def unknown_words(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Those of some counted words of which nobody has said what they are worth, at most TOLD of them."""
        return dict(
            islice(((word, n) for word, n in counts.items() if not self.meaning(word).is_known), MAX_REPORTED_WORDS)
        )

    def _understood(self, word: str) -> KindMeaning:
        plain = fold_word(word)
        kind = KIND_OF_WORD.get(plain)
        listed = self._listed.get(word, self._folded.get(plain))
        if listed is not None:
            if kind is not None and plain != fold_word(kind) and (listed < 0) != (kind in NEGATIVE_KINDS):
                kind = None  # the shop means something else by it
            return KindMeaning(kind, listed, True)
        if kind is None:
            return KindMeaning(None, self._other, False)
        return KindMeaning(kind, self._ours(kind), True)

    def _ours(self, kind: str) -> float:
        listed = self._folded.get(fold_word(kind))
        if listed is not None:
            return listed
        if kind in REVERSES:
            return -self._ours(REVERSES[kind])
        return 0.0 if kind == IMPRESSION else self._other
