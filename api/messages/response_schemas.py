"""What answers look like, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from engine.recommending.values.answer import Reason


class Contribution(BaseModel):
    item_id: str
    adds: float = Field(description="to the score")


class Because(BaseModel):
    history: list[Contribution] = Field(description="most first; those that are not named add less")
    exact: bool = Field(description="all of the history adds up to the score; else what it would be less without each")


class AnsweredItem(BaseModel):
    item_id: str
    score: float
    reason: Reason
    fields: dict[str, Any]
    because: Because | None = Field(None, description="with `explain`, of an item whose score is of the history")


class Short(BaseModel):
    requested: int
    returned: int
    reason: str


class Warned(BaseModel):
    loc: list[str | int] = Field(description="the part of the request")
    msg: str


class ShelfAnswer(BaseModel):
    items: list[AnsweredItem]
    shortfall: Short | None
    cursor: str | None = Field(description="goes on after these items; null: there are no more")
    warnings: list[Warned] = Field(
        description="what was asked and is not there: attributes that no item has, items that are not in the "
        "catalogue, kinds of a session that nobody has said the worth of"
    )


class Answered(BaseModel):
    recommendation_id: str
    model: int | None
    generation: str | None
    degraded: bool = Field(description="from less than all: an older generation, a stored user vector, or stale")
    stale: bool = Field(description="PostgreSQL is away: as of when it was last seen")


class ItemsAnswer(ShelfAnswer, Answered):
    pass


class BatchAnswer(Answered):
    shelves: list[ShelfAnswer]


class RowResult(BaseModel):
    status: str
    detail: str | None


class RowsAnswer(BaseModel):
    accepted: int
    seq: int = Field(description="a read with this as min_seq shows the write")
    results: list[RowResult]


class EventsAnswer(RowsAnswer):
    unknown_kinds: dict[str, int] = Field(
        description="events by the word for their kind, where nobody has said what it is worth: they are stored"
    )
