"""Schemas of the requests that all kinds of presets share."""

from __future__ import annotations

from pydantic import Field

from api.messages.request_schemas import StrictModel


class RollbackBody(StrictModel):
    version: int = Field(ge=1, lt=2**31, examples=[1])
