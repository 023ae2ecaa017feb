"""Case-folded copies of text columns, so that a case-insensitive search is one pass of Arrow's compiled code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.catalogue.comparable_values import Kind

MAX_COLUMNS = 4  # in the cache


@dataclass(frozen=True, eq=False)
class FoldedTexts:
    texts: pa.Array  # distinct texts, folded by str.casefold
    codes: npt.NDArray[np.int32]  # index into `texts` of each value

    def contains(self, text: str) -> npt.NDArray[np.bool_]:
        """Whether each value contains `text`, ignoring case."""
        return self._of_values(pc.match_substring(self.texts, text.casefold()))

    def is_in(self, folded: object) -> npt.NDArray[np.bool_]:
        """Whether each value is equal to a folded text, or to one of a tuple of folded texts, ignoring case."""
        texts = list(folded) if isinstance(folded, tuple) else [folded]
        return self._of_values(pc.is_in(self.texts, value_set=pa.array(texts, self.texts.type)))

    def _of_values(self, matches: pa.BooleanArray) -> npt.NDArray[np.bool_]:
        return np.asarray(matches.to_numpy(zero_copy_only=False), dtype=bool)[self.codes]


def fold_texts(values: pa.Array) -> FoldedTexts:
    """Fold the values of a column without nulls."""
    distinct = values.dictionary_encode()
    texts = distinct.dictionary
    is_ascii = pc.string_is_ascii(texts)
    lower = pc.ascii_lower(texts)
    if not pc.all(is_ascii).as_py() and len(texts):
        others = pc.invert(is_ascii)
        folded = pa.array([text.casefold() for text in texts.filter(others).to_pylist()], texts.type)
        lower = pc.replace_with_mask(lower, others, folded)
    return FoldedTexts(lower, distinct.indices.to_numpy())


class FoldedTextCache:
    """LRU cache of the folded columns of one catalogue. Two threads may compute the same column at once."""

    def __init__(self) -> None:
        self._cached: dict[tuple[str, Kind], FoldedTexts] = {}  # by field and kind, least recently used first

    def get(self, field: str, kind: Kind, values: pa.Array) -> FoldedTexts:
        folded = self._cached.pop((field, kind), None) or fold_texts(values)
        self._cached[field, kind] = folded
        for old in list(self._cached)[:-MAX_COLUMNS]:
            self._cached.pop(old, None)
        return folded
