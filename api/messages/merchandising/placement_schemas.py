"""Schema of placement documents: the parameters of `recommend` that a placement sets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from api.messages.shelf_schemas import ShelfBody
from engine.merchandising.placements import OF_REQUEST
from engine.merchandising.presets import NAME

RuleName = Annotated[str, Field(pattern=f"^{NAME.pattern}$", max_length=63)]
Rules = Annotated[
    Literal["all"] | Annotated[list[RuleName], Field(max_length=1000)],
    Field(description="the rules of the space that may act on this placement: `all`, or their names; [] for none"),
]


def _without_parameters_of_requests(schema: dict[str, Any]) -> None:
    for name in OF_REQUEST:
        schema["properties"].pop(name, None)


class PlacementDocument(ShelfBody):
    """A shelf without the person whom it is for. What the document leaves away is open to requests."""

    description: str = Field("", max_length=1000, description="a note for people")
    rules: Rules = "all"

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra=_without_parameters_of_requests,
    )


OF_DOCUMENT = frozenset({"description", "rules"})  # not parameters of `recommend`
