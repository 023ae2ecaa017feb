"""Request schemas. An unknown field is an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic import Json as JsonText

from api.messages.timestamps import OCCURRED_AT, Moment
from api.validation_errors import BoundedErrorsModel
from engine.catalogue.attribute_types import AttributeType
from engine.recommending.exclusions import exclude_from_text, parse_exclude
from engine.recommending.values.request import Fill
from engine.values.ids import normalise_id

Excluded = Literal["seen", "purchased", "none"] | list[Literal["seen", "purchased", "returned", "disliked"]]
Exclude = Annotated[frozenset[str], PlainValidator(parse_exclude, json_schema_input_type=Excluded)]
EXCLUDE = (
    "which items to leave out: `seen`, `purchased` or `none`, each also leaves out returned and disliked items; a list "
    "leaves out exactly the groups in it"
)
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


class PastEvent(StrictModel):
    """An event of the current session. It is used for this request only and not stored."""

    item_id: Id = Field(examples=[ITEM])
    kind: str = Field("view", max_length=64)
    value: float = Field(1.0, allow_inf_nan=False, ge=0, le=1e9)
    occurred_at: Moment | None = None  # None: now


class Shelf(StrictModel):
    user_id: Id | None = Field(None, examples=[USER])
    item_ids: Ids = Field([], description="items that the user looked at, as a history")
    k: K = 10
    exclude: Exclude = Field("seen", description=EXCLUDE, validate_default=True)
    exclude_items: Ids = []
    fill: Fill = Field("popular", description="fill a short list with popular items, new items, or not")
    cursor: Cursor | None = None


class Boost(StrictModel):
    """Multiplies the scores of matching items: a factor above 1 moves them up, below 1 down."""

    filter: Filter
    factor: float = Field(gt=0, le=100, allow_inf_nan=False, examples=[1.5])


Boosts = Annotated[
    list[Boost], Field(max_length=3, description="factors on scores; an item that matches several gets their product")
]


class ShelfBody(Shelf):
    """One list of items: for a user, a session, a list of items or a user vector."""

    history: list[PastEvent] = Field(
        [], max_length=1000, description="events of the current session, in addition to the stored events"
    )
    vector: list[float] | None = Field(None, max_length=65_536, description="a user vector of the served model")
    filter: Filter | None = None
    boost: Boosts = []


class ExplainOptions(ItemReadOptions):
    explain: int | None = Field(
        None, ge=1, le=100, description="return up to so many items of the history that add to the score of an item"
    )


class RecommendQuery(Shelf, ExplainOptions):
    history: ClassVar[Sequence[PastEvent]] = ()  # only in a body
    vector: ClassVar[Sequence[float] | None] = None
    filter: FilterText | None = None
    boost: JsonText[Boosts] = Field([], description="as in the body of POST; JSON text")
    exclude: Annotated[Exclude, BeforeValidator(exclude_from_text)] = Field(
        "seen", description=EXCLUDE + "; a list is JSON text or a repeated parameter", validate_default=True
    )


class RecommendBody(ShelfBody, ExplainOptions):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"user_id": USER, "k": 3, "filter": {"price": {"lt": 100}}},
                {"history": [{"item_id": ITEM, "kind": "cart"}]},
            ]
        },
    )


class BatchBody(ExplainOptions):
    """Lists for many users, or the lists of one page."""

    shelves: list[ShelfBody] = Field(
        min_length=1, max_length=1000, examples=[[{"user_id": USER, "k": 3}, {"fill": "new", "k": 3}]]
    )
    distinct: bool = Field(False, description="no item in two shelves; earlier shelves choose first")


class RankBody(ExplainOptions):
    user_id: Id | None = Field(None, examples=[USER])
    history: list[PastEvent] = Field([], max_length=1000)
    item_ids: list[Id] = Field(min_length=1, max_length=1000, examples=[[ITEM, "linen-duvet-cover"]])
    filter: Filter | None = None
    boost: Boosts = []


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

    user_id: Id = Field(examples=[USER])
    item_id: Id = Field(examples=[ITEM])
    kind: str = Field("view", min_length=1, max_length=64, examples=["purchase"])
    value: float = Field(1.0, allow_inf_nan=False, ge=0, le=1e9)
    occurred_at: Moment | None = Field(None, description=OCCURRED_AT)
    event_id: Id | None = None


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
