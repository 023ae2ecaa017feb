"""Schemas of the requests that all kinds of presets share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from api.messages.request_schemas import ReadOptions, StrictModel
from api.messages.timestamps import Moment

FieldName = Annotated[str, Field(min_length=1, max_length=1000)]


class RollbackBody(StrictModel):
    version: int = Field(ge=1, lt=2**31, examples=[1])


class DryRunBody(ReadOptions):
    document: dict[str, Any] = Field(
        description="the preset as for `PUT`", examples=[{"of": "items", "filter": {"price": {"lt": 30}}}]
    )


class ExposureOptions(ReadOptions):
    n: int = Field(200, ge=1, le=1000, description="the newest stored requests that are answered again")
    at: Moment | None = Field(
        None, description="a later moment of which both answers are, to try a rule that begins then; default: now"
    )
    category_field: FieldName = Field(
        "categories", description="`categories` of the answer are the values of this field"
    )
    band_field: FieldName = Field(
        "price", description="`prices` of the answer are bands of this field, which has numbers"
    )
    n_bands: int = Field(5, ge=1, le=20, description="bands are quantiles: each holds equally many items")


class ShelfDryRunBody(ExposureOptions):
    document: dict[str, Any] | None = Field(
        description="the preset as for `PUT`; null deletes it", examples=[{"filter": {"price": {"lt": 30}}}]
    )


class OfPlacement(StrictModel):
    placement: str | None = Field(
        None, min_length=1, max_length=63, description="only requests of this placement", examples=["home"]
    )


class RuleDryRunBody(ShelfDryRunBody, OfPlacement):
    pass


Documents = Annotated[dict[str, dict[str, Any] | None], Field(max_length=1000)]


class ChangesDryRunBody(ExposureOptions, OfPlacement):
    """Documents by name, as for `PUT`; null deletes one."""

    placements: Documents = Field({}, examples=[{"home": {"k": 8, "rules": ["sale"]}}])
    rules: Documents = Field({}, examples=[{"sale": {"then": {"bury": {"stock": 0}}}}])
    segments: Documents = Field({})
