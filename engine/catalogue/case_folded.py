"""Folded: the texts of a column without their case, kept so that to look for a text within them is one pass in C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.catalogue.comparable_values import Kind

MAX_COLUMNS = 4  # columns are kept


@dataclass(frozen=True, eq=False)
class FoldedTexts:
    texts: pa.Array  # distinct, as str.casefold makes them
    codes: npt.NDArray[np.int32]  # which of them each value is

    def containing(self, wanted: str) -> npt.NDArray[np.bool_]:
        """Which of the values contain a text, whatever the case."""
        return self._of(pc.match_substring(self.texts, wanted.casefold()))

    def among(self, wanted: object) -> npt.NDArray[np.bool_]:
        """Which of the values are a text, or one of a tuple of texts; those as str.casefold makes them."""
        texts = list(wanted) if isinstance(wanted, tuple) else [wanted]
        return self._of(pc.is_in(self.texts, value_set=pa.array(texts, self.texts.type)))

    def _of(self, found: pa.BooleanArray) -> npt.NDArray[np.bool_]:
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)[self.codes]


def fold_texts(values: pa.Array) -> FoldedTexts:
    """Of the values of a column, none of which is null."""
    distinct = values.dictionary_encode()
    texts = distinct.dictionary
    is_ascii = pc.string_is_ascii(texts)
    lower = pc.ascii_lower(texts)
    if not pc.all(is_ascii).as_py() and len(texts):
        others = pc.invert(is_ascii)
        made = pa.array([text.casefold() for text in texts.filter(others).to_pylist()], texts.type)
        lower = pc.replace_with_mask(lower, others, made)
    return FoldedTexts(lower, distinct.indices.to_numpy())


class FoldedTextCache:
    """Those of one catalogue that were asked for last. Two threads may make the same at once."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, Kind], FoldedTexts] = {}  # by field and kind, the one asked for longest ago first

    def of(self, field: str, kind: Kind, values: pa.Array) -> FoldedTexts:
        made = self._made.pop((field, kind), None) or fold_texts(values)
        self._made[field, kind] = made
        for old in list(self._made)[:-MAX_COLUMNS]:
            self._made.pop(old, None)
        return made
