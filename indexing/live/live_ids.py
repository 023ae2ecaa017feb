"""LiveIds: the item ids of a live view by row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from engine.values.ids import IdMap


class LiveIds:
    """The items of a generation, then items added since; has the methods of an IdMap."""

    def __init__(self, built: IdMap, new_rows: Mapping[str, int]):
        self.built, self.new_rows = built, new_rows

    @property
    def ids(self) -> LiveIds:
        return self

    @cached_property
    def _new_ids(self) -> tuple[str, ...]:
        return tuple(self.new_rows)

    def row(self, id_: str) -> int | None:
        row = self.built.row(id_)
        return self.new_rows.get(id_) if row is None else row

    def __getitem__(self, row: int) -> str:
        return self.built.ids[row] if row < len(self.built) else self._new_ids[row - len(self.built)]

    def __contains__(self, id_: object) -> bool:
        return id_ in self.built or id_ in self.new_rows

    def __len__(self) -> int:
        return len(self.built) + len(self.new_rows)
