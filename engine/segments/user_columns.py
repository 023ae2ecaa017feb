"""UserColumns: the fields of all users as columns, over which a filter is evaluated at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.catalogue.columns import SCHEMA, Columns, Mask, attribute_table
from engine.segments.user_fields import COUNTS, PREFIX
from engine.segments.user_filter import UserFilter

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class UserColumns:
    """Users by row. Of a list, `rows` names the user of each text."""

    user_ids: pa.ChunkedArray  # of text
    attributes: pa.ChunkedArray  # of JSON text
    counts: Mapping[str, npt.NDArray[np.float64]]  # (n_users,)
    times: Mapping[str, npt.NDArray[np.float64]]  # (n_users,) microseconds since 1970 UTC, NaN: missing
    lists: Mapping[str, tuple[Rows, pa.Array]]

    def __len__(self) -> int:
        return len(self.user_ids)

    def members(self, filter_: UserFilter, now_us: int) -> Mask:
        """(n_users,) whether each user passes the filter, as `UserFilter.matches` says for one."""
        return self._columns.mask(filter_.at(now_us))

    @cached_property
    def _columns(self) -> Columns:
        catalogue = pa.table({"user_id": self.user_ids, "attributes": self.attributes})
        return Columns(catalogue, pa.concat_tables([attribute_table(catalogue), self._computed_table()]))

    def _computed_table(self) -> pa.Table:
        every = np.arange(len(self), dtype=np.int64)
        rows = _rows("user_id", "text", every, texts=self.user_ids)
        zeros = np.zeros(len(self))
        for name in COUNTS:
            rows += _rows(name, "number", every, numbers=self.counts.get(name, zeros))
        for name, moments in self.times.items():
            known = np.flatnonzero(~np.isnan(moments))
            rows += _rows(name, "number", known, numbers=moments[known])
        for name, (of_rows, texts) in self.lists.items():
            rows += _rows(name, "texts", of_rows, texts=texts)
        columns = [[row[name] for row in rows] for name in SCHEMA.names]
        lists = [_lists(column, SCHEMA.field(at).type) for at, column in enumerate(columns[2:], 2)]
        return pa.Table.from_arrays([pa.array(columns[0]), pa.array(columns[1]), *lists], schema=SCHEMA)


def _rows(
    name: str, kind: str, rows: Rows, numbers: npt.NDArray[np.float64] | None = None, texts: Any = ()
) -> list[dict[str, Any]]:
    """The rows of SCHEMA of one field: its values, and the users that have one."""
    field = PREFIX + name
    values = {"numbers": () if numbers is None else numbers, "texts": texts, "rests": ()}
    present = {"numbers": (), "texts": (), "rests": ()}
    return [
        {"field": field, "kind": kind, "rows": rows, **values},
        {"field": field, "kind": "present", "rows": np.unique(rows), **present},
    ]


def _lists(values: list[Any], type_: pa.LargeListType) -> pa.LargeListArray:
    """A column of lists from numpy arrays or Arrow arrays of text, without a Python object for each value."""
    offsets = np.cumsum([0, *(len(each) for each in values)])
    flat = [
        each.cast(type_.value_type)
        if isinstance(each, pa.Array | pa.ChunkedArray)
        else pa.array(each, type_.value_type)
        for each in values
    ]
    chunks = [chunk for each in flat for chunk in (each.chunks if isinstance(each, pa.ChunkedArray) else [each])]
    return pa.LargeListArray.from_arrays(offsets, pa.concat_arrays(chunks))
