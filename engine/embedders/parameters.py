"""Hyper-parameters from text: `--set dim=64` converted to the type of the field, or one clear error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from engine.errors import InputError


def with_parameters(name: str, kind: Any, params: Mapping[str, str | float | int] | None) -> Any:
    """An instance of the dataclass `kind` with `params` over its defaults; InputError lists the valid parameters."""
    types: dict[str, Callable[[object], object]] = {field.name: type(field.default) for field in fields(kind)}
    values: dict[str, object] = {}
    for key, value in (params or {}).items():
        if key not in types:
            raise InputError(f"{name} has no parameter {key!r}; it has {', '.join(types)}", loc=("set", key))
        try:
            values[key] = types[key](value)
            if not math.isfinite(float(str(values[key]))):
                raise ValueError(value)
        except (ValueError, OverflowError):  # OverflowError: int of infinity
            expected = "whole" if types[key] is int else "finite"
            msg = f"expected a {expected} number for {key} of {name}, got {value!r}"
            raise InputError(msg, loc=("set", key)) from None
    return kind(**values)
