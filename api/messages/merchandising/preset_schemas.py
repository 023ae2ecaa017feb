"""Schemas of the requests that all kinds of presets share."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.messages.request_schemas import ReadOptions, StrictModel
from api.messages.timestamps import Moment


class RollbackBody(StrictModel):
    version: int = Field(ge=1, lt=2**31, examples=[1])


class DryRunBody(ReadOptions):
    document: dict[str, Any] = Field(
        description="the preset as for `PUT`", examples=[{"of": "items", "filter": {"price": {"lt": 30}}}]
    )


class ShelfDryRunBody(ReadOptions):
    document: dict[str, Any] | None = Field(
        description="the preset as for `PUT`; null deletes it", examples=[{"filter": {"price": {"lt": 30}}}]
    )
    n: int = Field(200, ge=1, le=1000, description="the newest stored requests that are answered again")
    at: Moment | None = Field(
        None, description="a later moment of which both answers are, to try a rule that begins then; default: now"
    )


class RuleDryRunBody(ShelfDryRunBody):
    placement: str | None = Field(
        None, min_length=1, max_length=63, description="only requests of this placement", examples=["home"]
    )
