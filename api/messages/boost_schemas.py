"""Schemas of boosts: what a request adds to the scores of items, by a filter or by a number of the item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, WrapValidator, model_validator

from api.messages.request_schemas import Filter, StrictModel
from engine.recommending.values.boosts import (
    MAX_ADDEND,
    MAX_BOOSTS,
    MAX_FACTOR,
    MAX_POINTS,
)
from engine.recommending.values.boosts import Boosts as ParsedBoosts

MAX_KEPT = 256  # lists of boosts; most requests send one of a few
MAX_KEPT_BYTES = 65_536  # of one list

Addend = Annotated[float, Field(ge=-MAX_ADDEND, le=MAX_ADDEND, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Point = Annotated[tuple[Finite, Finite], Field(examples=[(30, 1.2)])]


class Boost(StrictModel):
    """Changes scores before the best items are chosen: a factor above 1 moves items up, below 1 down; `add` is added.

    Either `factor` or `add` or both for the items that pass `filter`, or a `curve` over a number (`field`) or over the
    age in days of a time (`age_of`).
    """

    filter: Filter | None = None
    factor: float | None = Field(None, gt=0, le=MAX_FACTOR, allow_inf_nan=False, examples=[1.5])
    add: Addend | None = Field(None, description="in units of the score", examples=[0.1])
    field: str | None = Field(None, min_length=1, description="a number of the item", examples=["price"])
    age_of: str | None = Field(None, min_length=1, description="a time of the item", examples=["created_at"])
    curve: list[Point] | None = Field(
        None,
        min_length=1,
        max_length=MAX_POINTS,
        description="points [x, y] with ascending x: the factor or addend at the number or age x; linear in between, "
        "constant before the first and after the last",
    )
    as_: Literal["factor", "add"] = Field(
        "factor", alias="as", description="whether the curve is a factor or an addend"
    )
    missing: Finite | None = Field(
        None, description="the y of an item without a value; by default it has no effect: factor 1, addend 0"
    )

    @model_validator(mode="after")
    def _is_one_form(self) -> Boost:
        of_curve = {"field": self.field, "age_of": self.age_of, "curve": self.curve, "missing": self.missing}
        given = [name for name, value in of_curve.items() if value is not None]
        if not given and "as_" not in self.model_fields_set:
            if self.filter is None:
                raise ValueError("a boost needs `filter`, `field` or `age_of`, which say whose scores change")
            if self.factor is None and self.add is None:
                raise ValueError("a boost with a `filter` needs `factor`, `add` or a `curve`")
            return self
        if self.curve is None or (self.field is None) == (self.age_of is None):
            raise ValueError("a curve needs `curve` and one of `field` and `age_of`")
        if self.factor is not None or self.add is not None:
            raise ValueError("a curve gives the factor or addend itself; leave `factor` and `add` out")
        if any(left >= right for (left, _), (right, _) in zip(self.curve, self.curve[1:], strict=False)):
            raise ValueError("the points of a curve need ascending x")
        self._check_range([*(y for _, y in self.curve), *([] if self.missing is None else [self.missing])])
        return self

    def _check_range(self, values: list[float]) -> None:
        if self.as_ == "add" and not all(abs(each) <= MAX_ADDEND for each in values):
            raise ValueError(f"an addend is between -{MAX_ADDEND:g} and {MAX_ADDEND:g}")
        if self.as_ == "factor" and not all(0 < each <= MAX_FACTOR for each in values):
            raise ValueError(f"a factor is above 0 and at most {MAX_FACTOR:g}")


class BoostList(list[Boost]):
    """Valid boosts. Requests that send the same JSON share the list and the boosts parsed from it."""

    parsed: ParsedBoosts | None = None
    text: str = ""  # the JSON, with sorted keys


_kept: dict[bytes, BoostList] = {}


def _validated_once(value: Any, validate: Callable[[Any], list[Boost]]) -> list[Boost]:
    if not value or not isinstance(value, list):
        return validate(value)
    try:
        key = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # validated objects, or nothing that JSON holds
        return validate(value)
    found = _kept.get(key)
    if found is None:
        found = BoostList(validate(value))
        found.text = key.decode()
        if len(key) <= MAX_KEPT_BYTES:
            if len(_kept) >= MAX_KEPT:
                _kept.clear()
            _kept[key] = found
    return found


Boosts = Annotated[
    list[Boost],
    Field(max_length=MAX_BOOSTS, description="factors are multiplied and addends added, for each item"),
    WrapValidator(_validated_once),
]
