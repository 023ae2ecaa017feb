"""Schemas of the values of a field that suit a user best."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from api.messages.request_schemas import USER, FilterText, Id, ReadOptions
from api.messages.response_schemas import Answered, Short, Warned
from api.messages.shelf_schemas import EXCLUDE, Exclude
from engine.recommending.exclude_parameter import exclude_from_text


class ValuesQuery(ReadOptions):
    field: str = Field(
        min_length=1,
        max_length=1000,
        description="a field of items, such as `categories` or `brand`; each element of a list is a value",
        examples=["categories"],
    )
    user_id: Id | None = Field(None, examples=[USER])
    k: int = Field(10, description="number of values, 1 to 1000")
    filter: FilterText | None = None
    exclude: Annotated[Exclude, BeforeValidator(exclude_from_text)] = Field(
        "none", description=EXCLUDE + "; a list is JSON text or repeated, an object is JSON text", validate_default=True
    )


class AnsweredValue(BaseModel):
    value: str | float | bool
    score: float = Field(description="the sum of the scores of `item_ids`; scores below 0 count as 0")
    source: Literal["for_you", "popular"] = Field(description="popular: the history of the user does not support it")
    item_ids: list[str] = Field(description="the best items with this value, at most 3")


class ValuesAnswer(Answered):
    values: list[AnsweredValue]
    shortfall: Short | None
    warnings: list[Warned]
