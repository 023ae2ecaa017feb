"""Inference of attribute types from the catalogue, for attributes without a stored type."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from engine.catalogue.attribute_types import AttributeType, check_type
from engine.catalogue.predicate import PREFIX

TYPE_OF = {"bool": "boolean", "numbers": "list", "texts": "list"}  # other kinds have the name of their type
MIN_VALUES, MIN_SHARE = 10, 0.9


def infer_types(attributes: pa.Table) -> dict[str, AttributeType]:
    """attribute -> type, where at least 10 values exist and 90% of them have the type. `attributes` is a table of
    `columns.SCHEMA`."""
    counts: dict[str, Counter[str]] = {}
    names = (attributes["field"].to_pylist(), attributes["kind"].to_pylist())
    for field, kind, rows, numbers in zip(*names, attributes["rows"], attributes["numbers"], strict=True):
        of_field = counts.setdefault(field, Counter())
        of_field[TYPE_OF.get(kind, kind)] += len(np.unique(rows.values))
        if kind == "text":
            of_field["time"] = int(np.isfinite(numbers.values.to_numpy()).sum())  # texts that are times
            of_field["text"] -= of_field["time"]
    types: dict[str, AttributeType] = {}
    for field, of_kinds in counts.items():
        n = of_kinds.pop("present", 0)
        kind, most = max(of_kinds.items(), key=lambda each: each[1], default=("", 0))
        if n >= MIN_VALUES and most >= MIN_SHARE * n:
            types[field.removeprefix(PREFIX)] = check_type(kind)
    return types
