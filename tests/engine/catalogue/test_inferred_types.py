"""Types inferred from the columns of a catalogue."""

from __future__ import annotations

import orjson
import pyarrow as pa

from engine.catalogue.columns import attribute_table
from engine.catalogue.inferred_types import infer_types


def test_nine_in_ten_of_ten_values_and_more_are_a_type_and_times_are_one() -> None:
    rows = [{"price": n, "launch": f"2026-11-{n:02}", "season": "2026-11-01", "code": "x"} for n in range(1, 11)]
    rows[0] |= {"launch": "soon", "code": 7, "rare": 1}
    rows[1] |= {"season": "summer", "code": 8}
    rows[2] |= {"season": "winter"}
    catalogue = pa.table({"attributes": pa.array([orjson.dumps(row).decode() for row in rows])})
    assert infer_types(attribute_table(catalogue)) == {"price": "number", "launch": "time"}
