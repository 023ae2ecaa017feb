"""What requests look like. Anything not named here is refused."""

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
    "leave out what the user has seen, or purchased, or none, and each time what was returned or disliked; or a list "
    "of what alone to leave out"
)
K = Annotated[int, Field(description="how many items, 1 to 1000", examples=[10])]
Id = Annotated[str, AfterValidator(normalise_id)]
Ids = Annotated[list[Id], Field(max_length=1000)]
FILTER = "which items may be shown: conditions on fields"
Filter = Annotated[dict[str, Any], Field(description=FILTER, examples=[{"price": {"lt": 30}, "available": True}])]
FilterText = Annotated[
    str, Field(max_length=65_536, description=FILTER + "; as JSON", examples=['{"price":{"lt":30}}'])
]
Fields = Annotated[list[str], Field(max_length=100, examples=[["title", "price"]])]
Cursor = Annotated[str, Field(max_length=65_536, description="of the answer before: goes on after what it showed")]
USER, ITEM = "u-204", "oak-bedside-table"


class Closed(BoundedErrorsModel, BaseModel):
    model_config = ConfigDict(extra="forbid")


class NoParameters(Closed):
    pass


class Fresh(Closed):
    """How new an answer must be, and how long it may take."""

    min_seq: int | None = Field(
        None, ge=0, lt=2**63, description="show nothing older than the write that answered with this `seq`"
    )
    deadline_ms: int | None = Field(None, ge=1, le=10_000, description="503 rather than an answer after this")


class Shown(Fresh):
    fields: Fields | None = Field(None, description="only these of each item's fields; all when left away")


class PastEvent(Closed):
    """An event of this session that is not stored."""

    item_id: Id = Field(examples=[ITEM])
    kind: str = Field("view", max_length=64)
    value: float = Field(1.0, allow_inf_nan=False, ge=0, le=1e9)
    occurred_at: Moment | None = None  # None: now


class Shelf(Closed):
    user_id: Id | None = Field(None, examples=[USER])
    item_ids: Ids = Field([], description="recommend to someone who looked at these")
    k: K = 10
    exclude: Exclude = Field("seen", description=EXCLUDE, validate_default=True)
    exclude_items: Ids = []
    fill: Fill = Field("popular", description="fill up with popular items, with the newest, or not at all")
    cursor: Cursor | None = None


class Boost(Closed):
    """The scores of items that pass are multiplied, so that they come sooner, or later with a factor below 1."""

    filter: Filter
    factor: float = Field(gt=0, le=100, allow_inf_nan=False, examples=[1.5])


Boosts = Annotated[
    list[Boost], Field(max_length=3, description="factors on the scores of items; those of one item are multiplied")
]


class ShelfBody(Shelf):
    """One shelf: for a user, a session, some items or a vector."""

    history: list[PastEvent] = Field(
        [], max_length=1000, description="this session's events, on top of the stored ones"
    )
    vector: list[float] | None = Field(None, max_length=65_536, description="a user vector in the space of the model")
    filter: Filter | None = None
    boost: Boosts = []


class Explained(Shown):
    explain: int | None = Field(
        None, ge=1, le=100, description="name so many items of the history beside each item, and how much they add"
    )


class RecommendQuery(Shelf, Explained):
    history: ClassVar[Sequence[PastEvent]] = ()  # only a body has room for these
    vector: ClassVar[Sequence[float] | None] = None
    filter: FilterText | None = None
    boost: JsonText[Boosts] = Field([], description="as the body of POST has it; as JSON")
    exclude: Annotated[Exclude, BeforeValidator(exclude_from_text)] = Field(
        "seen", description=EXCLUDE + ", as JSON or given several times", validate_default=True
    )


class RecommendBody(ShelfBody, Explained):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"user_id": USER, "k": 3, "filter": {"price": {"lt": 100}}},
                {"history": [{"item_id": ITEM, "kind": "cart"}]},
            ]
        },
    )


class BatchBody(Explained):
    """Many users, or the shelves of one page."""

    shelves: list[ShelfBody] = Field(
        min_length=1, max_length=1000, examples=[[{"user_id": USER, "k": 3}, {"fill": "new", "k": 3}]]
    )
    distinct: bool = Field(False, description="no item on two shelves; earlier ones choose first")


class RankBody(Explained):
    user_id: Id | None = Field(None, examples=[USER])
    history: list[PastEvent] = Field([], max_length=1000)
    item_ids: list[Id] = Field(min_length=1, max_length=1000, examples=[[ITEM, "linen-duvet-cover"]])
    filter: Filter | None = None
    boost: Boosts = []


class Near(Shown):
    k: K = 10
    exclude_items: Ids = []
    cursor: Cursor | None = None


class SimilarQuery(Near):
    filter: FilterText | None = None


class SearchQuery(SimilarQuery):
    item_id: Id = Field(examples=[ITEM])


class SearchBody(Near):
    """One of item_id, vector, record, or positive with perhaps negative items."""

    item_id: Id | None = None
    record: dict[str, Any] | None = Field(None, description="raw features, which the model encodes")
    vector: list[float] | None = Field(None, max_length=65_536)
    positive: list[Id] = Field([], max_length=100)
    negative: list[Id] = Field([], max_length=100)
    filter: Filter | None = None

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"positive": [ITEM], "negative": ["garden-chair"], "k": 3}]}
    )

    @model_validator(mode="after")
    def one_way(self) -> SearchBody:
        given = [self.item_id is not None, self.vector is not None, self.record is not None, bool(self.positive)]
        if sum(given) != 1:
            raise ValueError("expected exactly one of item_id, vector, record and positive")
        if self.negative and not self.positive:
            raise ValueError("negative items go with positive ones")
        return self


class SimilarUsersQuery(Fresh):
    k: K = 10


class EventBody(Closed):
    """One event; `event_id` makes a resend harmless, without one it is made from the other fields."""

    user_id: Id = Field(examples=[USER])
    item_id: Id = Field(examples=[ITEM])
    kind: str = Field("view", min_length=1, max_length=64, examples=["purchase"])
    value: float = Field(1.0, allow_inf_nan=False, ge=0, le=1e9)
    occurred_at: Moment | None = Field(None, description=OCCURRED_AT)
    event_id: Id | None = None


# Looked at by itself, so that one that is no object does not keep the others out.
Row = Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": True})]


def _wrapped(name: str, value: Any) -> Any:
    return {name: value} if isinstance(value, list) else value


class EventsBody(Closed):
    events: list[Row] = Field(
        min_length=1, examples=[[{"user_id": USER, "item_id": ITEM, "kind": "view", "event_id": "e-1"}]]
    )

    @model_validator(mode="before")
    @classmethod
    def bare_list(cls, value: Any) -> Any:
        return _wrapped("events", value)


class ItemFields(Closed):
    title: str | None = Field(None, examples=["Oak bedside table"])
    categories: list[str] = Field([], max_length=100, examples=[["furniture", "bedroom"]])
    attributes: dict[str, Any] = Field({}, examples=[{"price": 89.0}])
    available: bool = True
    vector: list[float] | None = Field(
        None, max_length=65_536, description="its own vector, in the space of the model that is served"
    )


class ItemBody(ItemFields):
    item_id: Id = Field(examples=[ITEM])


class ItemsBody(Closed):
    items: list[Row] = Field(min_length=1, max_length=10_000, examples=[[{"item_id": ITEM, "title": "Oak"}]])

    @model_validator(mode="before")
    @classmethod
    def bare_list(cls, value: Any) -> Any:
        return _wrapped("items", value)


class Availability(Closed):
    item_id: Id
    available: bool


class AvailabilityBody(Closed):
    items: list[Row] = Field(min_length=1, max_length=10_000, examples=[[{"item_id": ITEM, "available": False}]])


class UserFields(Closed):
    attributes: dict[str, Any] = Field({}, examples=[{"country": "GB"}])


class MergeBody(Closed):
    from_user_id: Id = Field(examples=["visitor-81c"], description="who the user was before it was known who they are")


class WeightingBody(Closed):
    """What an event is worth; see the README."""

    kinds: dict[str, Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]] | None = Field(
        None,
        description="by name; each stands for its usual synonyms too, unless those are listed themselves",
        examples=[{"view": 1, "purchase": 5, "return": -5, "wishlist": 2}],
    )
    other: float = Field(0.0, allow_inf_nan=False, ge=-1e6, le=1e6, description="of kinds that are not listed")
    half_life_days: float | None = Field(None, gt=0, le=36_500, allow_inf_nan=False)
    value: Literal["ignore", "log", "linear"] = "log"
    repeat: Literal["sum", "log", "binary"] = "log"
    predict: Literal["new", "any"] = Field("new", description="models are judged by; any: also items had before")


Types = Annotated[dict[str, AttributeType], Field(max_length=1000)]


class AttributeTypesBody(Closed):
    """What the values of an attribute are taken as from now on; what is stored stays as it is."""

    items: Types = Field({}, examples=[{"price": "number", "size": "text"}])
    users: Types = {}


class SpaceBody(Closed):
    weighting: WeightingBody | None = None
    attribute_types: AttributeTypesBody | None = None


class KeyBody(Closed):
    scope: Literal["read", "write", "admin"] = "read"
    space: str | None = Field(None, description="one space; none: every space")
    label: str = Field("", max_length=200)
