"""Schemas of the requests for shelves: recommend, its batch, and rank. An unknown field is an error."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator
from pydantic import Json as JsonText

from api.messages.boost_schemas import Boosts
from api.messages.request_schemas import (
    ITEM,
    USER,
    Cursor,
    Filter,
    FilterText,
    Id,
    Ids,
    ItemReadOptions,
    K,
    StrictModel,
)
from api.messages.timestamps import Moment
from api.strategies.strategy_schemas import STRATEGY, USER_IDS, Fallback, FallbackText, Fill, Strategy
from engine.errors import short_repr
from engine.recommending.exclude_parameter import (
    ExcludedRelations,
    exclude_as_object,
    exclude_from_text,
    parse_exclude,
)
from engine.recommending.values.request import MinScore, Objective

Relation = Literal["seen", "purchased", "carted", "returned", "disliked", "impressed"]
Asked = Literal["seen", "purchased", "none"] | list[Relation] | dict[Relation, str | None]
Exclude = Annotated[
    ExcludedRelations,
    PlainValidator(parse_exclude, json_schema_input_type=Asked),
    PlainSerializer(exclude_as_object, return_type=dict),
]
EXCLUDE = (
    "which items to leave out: `seen`, `purchased` or `none`, each also leaves out returned and disliked items; a list "
    "leaves out exactly the groups in it; an object does so within a time, such as `30d`, or null for all times; "
    "default: by strategy, mostly `seen`"
)


ContextName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
MAX_CONTEXT_TEXT = 256


def _context_value(value: object) -> str | bool | int | float:
    is_number = isinstance(value, int | float) and abs(value) < math.inf  # NaN is not
    if is_number or (isinstance(value, str) and len(value) <= MAX_CONTEXT_TEXT):
        return value  # type: ignore[return-value]  # one of these
    expected = f"expected text of at most {MAX_CONTEXT_TEXT} characters, a number, true or false"
    raise ValueError(f"{expected}, got {short_repr(value)}")


ContextValue = Annotated[
    str | bool | int | float,
    PlainValidator(
        _context_value, json_schema_input_type=Annotated[str, Field(max_length=MAX_CONTEXT_TEXT)] | bool | int | float
    ),
]
RequestContext = Annotated[
    dict[ContextName, ContextValue],
    Field(
        max_length=50,
        description="where a shelf is shown; filters, boosts, pins and rules may refer to it",
        examples=[{"country": "DE", "store": "berlin-1"}],
    ),
]


class PastEvent(StrictModel):
    """An event of the current session. It is used for this request only and not stored."""

    item_id: Id = Field(examples=[ITEM])
    kind: str = Field("view", max_length=64)
    value: float = Field(1.0, allow_inf_nan=False, ge=0, le=1e9)
    occurred_at: Moment | None = None  # None: now


class ChosenBy(StrictModel):
    """A number or a time of the items."""

    field: str = Field(min_length=1, max_length=1000, examples=["stock"])
    order: Literal["desc", "asc"] = Field("desc", description="desc: the item with the largest value")


def _chosen_by(value: object) -> object:
    if value is None or value == "score":
        return None
    if isinstance(value, dict | ChosenBy):
        return value
    raise ValueError(f'expected "score", or an object such as {{"field": "stock"}}, got {short_repr(value)}')


Choose = Annotated[
    ChosenBy | None, BeforeValidator(_chosen_by, json_schema_input_type=Literal["score"] | ChosenBy)
]  # None: by score


class GroupedBy(StrictModel):
    """A field, and which item of each group is shown."""

    field: str = Field(min_length=1, max_length=1000, examples=["parent_id"])
    choose: Choose = Field(None, description="of each group; by default the item with the highest score")


MIN_SCORE = (
    "only items that the model scores above the median of this space (low), the best tenth (medium) or the best "
    "hundredth (high) of all pairs"
)
OBJECTIVE = (
    "what a shelf is for: scores are multiplied by the expected clicks, purchases, `price` (revenue) or `margin` of an "
    "item, from the rates of the shop"
)
ROTATION = (
    "items that the user was shown lately sink and come back by this half-life, such as `12h` or `1d`; each impression "
    "multiplies a score by 1 - 0.8 x 2^(-age / half-life)"
)
EXPLORE = "the share of slots, 0 to 1, for new items and items with few impressions, chosen by Thompson sampling"
PERSONALIZATION = (
    "`full`: for everything that is known of the user; `session`: for the events of `session_id` and `history` alone; "
    "`none`: nothing of the user is read and `history` is not used"
)
Personalization = Literal["full", "session", "none"]
SESSION_ID = "the visit, as events name it; without `user_id`, whom the shelf is for"
Seed = Annotated[int, Field(ge=0, lt=2**63, description="with the same seed, random choices are the same again")]
GROUP_BY = (
    "a field; of items with the same value, such as the variants of a product, only the best by score is shown; or an "
    "object that says by which field the shown one is chosen"
)


def _grouped_by(value: object) -> object:
    """A field, an object, or an object as the JSON text of a query."""
    if isinstance(value, dict | GroupedBy):
        return value
    expected = 'expected a field, or JSON such as {"field": "parent_id", "choose": "score"}'
    if not isinstance(value, str):
        raise ValueError(f"{expected}, got {short_repr(value)}")
    if not value.startswith("{"):
        return {"field": value}
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError(expected) from None


GroupBy = Annotated[GroupedBy, BeforeValidator(_grouped_by, json_schema_input_type=str | GroupedBy)]


class Shelf(StrictModel):
    placement: str | None = Field(
        None,
        min_length=1,
        max_length=63,
        description="a stored placement; the other parameters may narrow what it shows",
        examples=["home"],
    )
    user_id: Id | None = Field(None, examples=[USER])
    session_id: Id | None = Field(None, description=SESSION_ID, examples=["s-5f2"])
    personalization: Personalization = Field("full", description=PERSONALIZATION)
    strategy: Strategy = Field("for_you", description=STRATEGY)
    item_ids: Ids = Field(
        [],
        description="items that the user looked at, as a history; the items that `similar` starts from; the items of "
        "`list`",
    )
    user_ids: Ids = Field([], description=USER_IDS)
    k: K = 10
    exclude: Exclude | None = Field(None, description=EXCLUDE)
    exclude_items: Ids = Field([])
    include_items: Ids | None = Field(None, description="show only these items, less those that are left out")
    fallback: Fallback | None = None
    fill: Fill | None = None
    cursor: Cursor | None = None
    group_by: GroupBy | None = Field(None, description=GROUP_BY, examples=["parent_id"])
    objective: Objective | None = Field(None, description=OBJECTIVE)
    rotation: str | None = Field(None, description=ROTATION, examples=["1d"])
    explore: float = Field(0.0, ge=0, le=1, allow_inf_nan=False, description=EXPLORE)
    seed: Seed | None = None
    min_score: MinScore | None = Field(None, description=MIN_SCORE)
    diversity: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, description="0: the best items; 1: items as different as possible"
    )


Caps = Annotated[
    dict[str, Annotated[int, Field(ge=1, le=1000)]],
    Field(
        max_length=10,
        description="by field: at most so many items with the same value; each element of a list is a value",
        examples=[{"brand": 2, "categories": 3}],
    ),
]


class Pin(StrictModel):
    """An item, or the best item that passes a filter, at a position of the shelf."""

    position: int = Field(ge=1, le=1000, description="from 1; the positions of a next page follow those of the last")
    item_id: Id | None = Field(None, examples=[ITEM])
    filter: Filter | None = None


Pins = Annotated[
    list[Pin],
    Field(
        max_length=100,
        description="items at positions; a pinned item that may not be shown leaves its position to the next one",
        examples=[[{"position": 1, "item_id": ITEM}, {"position": 3, "filter": {"brand": "Lumo"}}]],
    ),
]


class ShelfBody(Shelf):
    """One list of items: for a user, a session, a list of items or a user vector."""

    history: list[PastEvent] = Field(
        [], max_length=1000, description="events of the current session, in addition to the stored events"
    )
    vector: list[float] | None = Field(None, max_length=65_536, description="a user vector of the served model")
    filter: Filter | None = None
    boost: Boosts = Field([])
    caps: Caps = Field({})
    pins: Pins = Field([])
    context: RequestContext = Field({})


class ExplainOptions(ItemReadOptions):
    explain: int | None = Field(
        None, ge=1, le=100, description="return up to so many items of the history that add to the score of an item"
    )


class RecommendQuery(Shelf, ExplainOptions):
    history: ClassVar[Sequence[PastEvent]] = ()  # only in a body
    vector: ClassVar[Sequence[float] | None] = None
    filter: FilterText | None = None
    boost: JsonText[Boosts] = Field([], description="as in the body of POST; JSON text")
    caps: JsonText[Caps] = Field({}, description="as in the body of POST; JSON text")
    pins: JsonText[Pins] = Field([], description="as in the body of POST; JSON text")
    context: JsonText[RequestContext] = Field({}, description="as in the body of POST; JSON text")
    fallback: FallbackText | None = Field(None, description="repeated, or a JSON list")
    exclude: Annotated[Exclude, BeforeValidator(exclude_from_text)] | None = Field(
        None, description=EXCLUDE + "; a list is JSON text or repeated, an object is JSON text"
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
    boost: Boosts = Field([])
