"""ItemLists: a ranked list of other items for each item, in one array."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import CorruptGeneration

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]
NO_ROWS, NO_SCORES = np.zeros(0, np.int64), np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class ItemLists:
    """The list of item row r is `rows[starts[r]:starts[r + 1]]`, best first, with its scores."""

    starts: Rows  # (n_rows + 1,)
    rows: npt.NDArray[np.int32]
    scores: Scores  # > 0, falling within a list

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, row: int) -> tuple[Rows, Scores]:
        """The rows and scores of one list, best first; empty for a row that was added since the build."""
        if not 0 <= row < len(self):
            return NO_ROWS, NO_SCORES
        part = slice(self.starts[row], self.starts[row + 1])
        return self.rows[part].astype(np.int64), self.scores[part]

    def check(self, n_rows: int) -> None:
        """CorruptGeneration unless these are lists of `n_rows` items whose rows exist."""
        consistent = (
            self.starts.shape == (n_rows + 1,)
            and self.rows.shape == self.scores.shape == (int(self.starts[-1]),)
            and self.starts[0] == 0
            and (np.diff(self.starts) >= 0).all()
            and (len(self.rows) == 0 or 0 <= self.rows.min() <= self.rows.max() < n_rows)
            and bool(np.isfinite(self.scores).all())
        )
        if not consistent:
            raise CorruptGeneration(f"expected lists of items for {n_rows} items, got others")


def from_lists(lists: Iterable[tuple[npt.NDArray[np.int32], Scores]]) -> ItemLists:
    """Of one (rows, scores) for each item row, in order."""
    rows, scores = zip(*lists, strict=True) if (lists := list(lists)) else ((), ())
    starts = np.concatenate([[0], np.cumsum([len(each) for each in rows])]).astype(np.int64)
    return ItemLists(
        starts,
        np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32),
        np.concatenate([NO_SCORES, *scores]).astype(np.float32),
    )


def no_lists(n_rows: int) -> ItemLists:
    return ItemLists(np.zeros(n_rows + 1, np.int64), np.zeros(0, np.int32), NO_SCORES)
