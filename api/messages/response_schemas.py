"""Response schemas, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from engine.recommending.values.answer import Reason


class Contribution(BaseModel):
    item_id: str
    adds: float = Field(description="what the item adds to the score")


class Because(BaseModel):
    history: list[Contribution] = Field(description="largest first; items that are not listed contribute less")
    exact: bool = Field(description="true: contributions add up to the score; false: each is the loss without the item")


class ScorePart(BaseModel):
    name: str = Field(description="base: the score of the source; boost, objective, rotation: what each changes")
    at: int | None = Field(description="the place of a boost in the request, from 0")
    rule: str | None = Field(None, description="the rule that adds it; null: the request")
    adds: float


class AnsweredItem(BaseModel):
    item_id: str
    score: float
    source: str = Field(description="the strategy that found the item; `rank` for the items of a ranking")
    reason: Reason
    fields: dict[str, Any]
    siblings: list[str] | None = Field(
        None, description="with `group_by`: up to 100 other items of its group that the shelf may show"
    )
    because: Because | None = Field(None, description="with `explain`, for an item whose score comes from the history")
    parts: list[ScorePart] | None = Field(None, description="with `explain`: the parts of the score, which sum to it")
    rules: list[str] | None = Field(
        None, description="with `explain`: the rules whose boosts changed the score, or whose pin is at this position"
    )


class Short(BaseModel):
    requested: int
    returned: int
    reason: str


class Warned(BaseModel):
    loc: list[str | int] = Field(description="the place in the request")
    msg: str


class AnsweredPlacement(BaseModel):
    name: str
    version: int


class ShelfAnswer(BaseModel):
    items: list[AnsweredItem]
    shortfall: Short | None
    cursor: str | None = Field(description="for the next page; null when there are no more items")
    placement: AnsweredPlacement | None = Field(None, description="the placement of the request, null without one")
    rules: list[str] = Field([], description="the rules that acted on the shelf, the highest priority first")
    warnings: list[Warned] = Field(
        description="parts of the request without effect: attributes that no item has, items that are not in the "
        "catalogue, kinds of session events that the weighting does not list"
    )


class Answered(BaseModel):
    recommendation_id: str
    model: int | None
    generation: str | None
    degraded: bool = Field(description="from incomplete data: an older generation, a stored user vector, or stale")
    stale: bool = Field(description="PostgreSQL is unavailable; the data is that of its last read")


class ItemsAnswer(ShelfAnswer, Answered):
    pass


class BatchAnswer(Answered):
    shelves: list[ShelfAnswer]


class RowResult(BaseModel):
    status: str
    detail: str | None


class RowsAnswer(BaseModel):
    accepted: int
    seq: int = Field(description="a read with this `min_seq` shows the write")
    results: list[RowResult]


class EventsAnswer(RowsAnswer):
    unknown_kinds: dict[str, int] = Field(
        description="number of events by kind, for kinds that the weighting does not list; the events are stored"
    )
