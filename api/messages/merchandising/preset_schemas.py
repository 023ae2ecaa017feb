"""Schemas of the requests that all kinds of presets share."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.messages.request_schemas import ReadOptions, StrictModel


class RollbackBody(StrictModel):
    version: int = Field(ge=1, lt=2**31, examples=[1])


class DryRunBody(ReadOptions):
    document: dict[str, Any] = Field(
        description="the preset as for `PUT`", examples=[{"of": "items", "filter": {"price": {"lt": 30}}}]
    )
