"""Request schemas; the schemas of shelves are in `shelf_schemas`. An unknown field is an error."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from api.messages.timestamps import OCCURRED_AT, Moment
from api.validation_errors import BoundedErrorsModel
from engine.catalogue.attribute_types import AttributeType
from engine.values.ids import normalise_id

K = Annotated[int, Field(description="number of items, 1 to 1000", examples=[10])]
Id = Annotated[str, AfterValidator(normalise_id)]
Ids = Annotated[list[Id], Field(max_length=1000)]
FILTER = "conditions on item fields; only items that match are returned"
Filter = Annotated[dict[str, Any], Field(description=FILTER, examples=[{"price": {"lt": 30}, "available": True}])]
FilterText = Annotated[
    str, Field(max_length=65_536, description=FILTER + "; JSON text", examples=['{"price":{"lt":30}}'])
]
Fields = Annotated[list[str], Field(max_length=100, examples=[["title", "price"]])]
Cursor = Annotated[str, Field(max_length=65_536, description="`cursor` of the previous page")]
USER, ITEM = "u-204", "oak-bedside-table"


class StrictModel(BoundedErrorsModel, BaseModel):
    model_config = ConfigDict(extra="forbid")


class NoParameters(StrictModel):
    pass


class ReadOptions(StrictModel):
    """How fresh the data of a response must be, and how long the response may take."""

    min_seq: int | None = Field(None, ge=0, lt=2**63, description="data at least as new as the write with this `seq`")
    deadline_ms: int | None = Field(None, ge=1, le=10_000, description="respond within this time, or with 503")


class ItemReadOptions(ReadOptions):
    fields: Fields | None = Field(None, description="the fields to return of each item; default: all")


class SearchOptions(ItemReadOptions):
    k: K = 10
    exclude_items: Ids = []
    cursor: Cursor | None = None


class SimilarQuery(SearchOptions):
    filter: FilterText | None = None


class SearchQuery(SimilarQuery):
    item_id: Id = Field(examples=[ITEM])


class SearchBody(SearchOptions):
    """Exactly one of `item_id`, `vector`, `record` and `positive`; `negative` is optional with `positive`."""

    item_id: Id | None = None
    record: dict[str, Any] | None = Field(None, description="raw features; the model encodes them")
    vector: list[float] | None = Field(None, max_length=65_536)
    positive: list[Id] = Field([], max_length=100)
    negative: list[Id] = Field([], max_length=100)
    filter: Filter | None = None

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"positive": [ITEM], "negative": ["garden-chair"], "k": 3}]}
    )

    @model_validator(mode="after")
    def exactly_one(self) -> SearchBody:
        sources = [self.item_id is not None, self.vector is not None, self.record is not None, bool(self.positive)]
        if sum(sources) != 1:
            raise ValueError("expected exactly one of item_id, vector, record and positive")
        if self.negative and not self.positive:
            raise ValueError("expected positive items beside negative ones")
        return self


class SimilarUsersQuery(ReadOptions):
    k: K = 10


class EventBody(StrictModel):
    """One event. Events with the same `event_id` are stored once; without it, an id is made from the other fields."""

    user_id: Id | None = Field(
        None, examples=[USER], description="of a visitor who is not known leave it away and give `session_id`"
    )
    item_id: Id = Field(examples=[ITEM])
    kind: str = Field("view", min_length=1, max_length=64, examples=["purchase"])
    value: float = Field(1.0, allow_inf_nan=False, ge=0, le=1e9)
    occurred_at: Moment | None = Field(None, description=OCCURRED_AT)
    event_id: Id | None = None
    order_id: Id | None = Field(None, description="the order that this purchase is part of", examples=["o-8812"])
    session_id: Id | None = Field(None, description="the visit that this event is part of", examples=["s-5f2"])


# Validated row by row, so that a row that is not an object does not reject the others.
Row = Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": True})]


def _wrapped(name: str, value: Any) -> Any:
    return {name: value} if isinstance(value, list) else value


class EventsBody(StrictModel):
    events: list[Row] = Field(
        min_length=1, examples=[[{"user_id": USER, "item_id": ITEM, "kind": "view", "event_id": "e-1"}]]
    )

    @model_validator(mode="before")
    @classmethod
    def bare_list(cls, value: Any) -> Any:
        return _wrapped("events", value)


class ItemFields(StrictModel):
    title: str | None = Field(None, examples=["Oak bedside table"])
    categories: list[str] = Field([], max_length=100, examples=[["furniture", "bedroom"]])
    attributes: dict[str, Any] = Field({}, examples=[{"price": 89.0}])
    available: bool = True
    vector: list[float] | None = Field(
        None, max_length=65_536, description="the vector of the item, of the served model"
    )


class ItemBody(ItemFields):
    item_id: Id = Field(examples=[ITEM])


class ItemsBody(StrictModel):
    items: list[Row] = Field(min_length=1, max_length=10_000, examples=[[{"item_id": ITEM, "title": "Oak"}]])

    @model_validator(mode="before")
    @classmethod
    def bare_list(cls, value: Any) -> Any:
        return _wrapped("items", value)


class Availability(StrictModel):
    item_id: Id
    available: bool


class AvailabilityBody(StrictModel):
    items: list[Row] = Field(min_length=1, max_length=10_000, examples=[[{"item_id": ITEM, "available": False}]])


class UserFields(StrictModel):
    attributes: dict[str, Any] = Field({}, examples=[{"country": "GB"}])


class MergeBody(StrictModel):
    from_user_id: Id = Field(examples=["visitor-81c"], description="the id before the user was identified")


class WeightingBody(StrictModel):
    """The weights of events in a history; see the guide of recommendations."""

    kinds: dict[str, Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]] | None = Field(
        None,
        description="weight by kind; each kind also covers its usual synonyms, unless they are listed themselves",
        examples=[{"view": 1, "purchase": 5, "return": -5, "wishlist": 2}],
    )
    other: float = Field(0.0, allow_inf_nan=False, ge=-1e6, le=1e6, description="weight of kinds that are not listed")
    half_life_days: float | None = Field(None, gt=0, le=36_500, allow_inf_nan=False)
    value: Literal["ignore", "log", "linear"] = "log"
    repeat: Literal["sum", "log", "binary"] = "log"
    predict: Literal["new", "any"] = Field("new", description="what an evaluation predicts: new items only, or any")


Types = Annotated[dict[str, AttributeType], Field(max_length=1000)]


class AttributeTypesBody(StrictModel):
    """The types of attributes for new writes; stored values stay as they are."""

    items: Types = Field({}, examples=[{"price": "number", "size": "text"}])
    users: Types = {}


class SpaceBody(StrictModel):
    weighting: WeightingBody | None = None
    attribute_types: AttributeTypesBody | None = None


class KeyBody(StrictModel):
    scope: Literal["read", "write", "admin"] = "read"
    space: str | None = Field(None, description="the only space of the key; default: every space")
    label: str = Field("", max_length=200)
