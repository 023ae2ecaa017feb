"""Schemas of pages: their documents, and the requests and responses of POST page."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.messages.request_schemas import ITEM, USER, Cursor, Filter, Id, Ids, StrictModel
from api.messages.response_schemas import Answered, ShelfAnswer
from api.messages.shelf_schemas import (
    PERSONALIZATION,
    SESSION_ID,
    ExplainOptions,
    PastEvent,
    Personalization,
    RequestContext,
    Seed,
    ShelfBody,
)
from engine.merchandising.placements import OF_REQUEST
from engine.merchandising.presets import NAME

Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$", max_length=63)]
ORDER = "as listed, or the shelf with the highest expected value of a slot first"


class SeedBody(StrictModel):
    event: str | None = Field(None, max_length=64, description="a kind of event; null: any but impressions")
    nth: int = Field(1, ge=1, le=100, description="1: the newest such item of the visitor")


class BestBody(StrictModel):
    field: str = Field(min_length=1, max_length=1000, examples=["brand"])
    nth: int = Field(1, ge=1, le=20, description="1: the value that suits the visitor best")


def _without_parameters_of_requests(schema: dict[str, Any]) -> None:
    for name in OF_REQUEST - {"placement"}:
        schema["properties"].pop(name, None)


class PageShelfBody(ShelfBody):
    """A placement, or parameters of its own; with both, the parameters narrow the placement."""

    name: Name
    title: str | None = Field(
        None,
        max_length=200,
        description="with `seed`, {title}, {item_id} and attributes of its item; with `best`, {value}",
        examples=["Because you viewed {title}"],
    )
    seed: SeedBody | None = Field(  # type: ignore[assignment]  # random choices get theirs from the request
        None, description="the shelf starts from an item of the visitor's history"
    )
    best: BestBody | None = Field(None, description="the shelf shows the value of a field that suits the visitor best")

    model_config = ConfigDict(extra="forbid", json_schema_extra=_without_parameters_of_requests)


OF_PAGE_SHELF = frozenset({"name", "title", "seed", "best", "placement"})  # not parameters of `recommend`


class PageDocument(StrictModel):
    description: str = Field("", max_length=1000)
    shelves: list[PageShelfBody] = Field(min_length=1, max_length=50)
    distinct: bool = Field(
        True, description="no item on two shelves, next pages included; earlier shelves choose first"
    )
    order: Literal["given", "clicks", "purchases", "revenue", "margin"] = Field("given", description=ORDER)


class PageBody(ExplainOptions):
    """Whom a page is for. `filter` and `exclude_items` narrow every shelf."""

    page: str = Field(min_length=1, max_length=63, examples=["home"])
    user_id: Id | None = Field(None, examples=[USER])
    session_id: Id | None = Field(None, description=SESSION_ID, examples=["s-5f2"])
    personalization: Personalization = Field("full", description=PERSONALIZATION)
    item_ids: Ids = Field(
        [], description="what the visitor looks at, such as the item of a product page", examples=[[ITEM]]
    )
    history: list[PastEvent] = Field([], max_length=1000)
    filter: Filter | None = None
    exclude_items: Ids = Field([])
    context: RequestContext = Field({})
    seed: Seed | None = None
    shelves: list[Name] | None = Field(
        None, max_length=50, description="only these; default: all, or those of `cursors`"
    )
    cursors: dict[Name, Cursor] = Field({}, max_length=50, description="by shelf, the `cursor` of its last page")


class AnsweredPageShelf(ShelfAnswer):
    name: str
    title: str | None
    seed: str | None = Field(description="the item that the shelf starts from")


class AnsweredPage(BaseModel):
    name: str
    version: int


class PageAnswer(Answered):
    page: AnsweredPage
    shelves: list[AnsweredPageShelf]
    cursors: dict[str, str] = Field(
        description="by shelf, the `cursors` of the next request; a shelf that has shown all of its items has none"
    )
