"""Schema of rule documents: when a rule acts, and what it does to a shelf."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from api.messages.boost_schemas import Boosts
from api.messages.merchandising.placement_schemas import RuleName
from api.messages.request_schemas import Filter, StrictModel
from api.messages.shelf_schemas import Caps, ContextName, ContextValue, Pins

Names = Annotated[list[RuleName], Field(min_length=1, max_length=1000)]
TIME = "a date or a time in ISO 8601; without an offset it is in `time_zone`"
OneOrSome = Annotated[
    list[ContextValue],
    Field(min_length=1, max_length=1000),
    BeforeValidator(
        lambda value: value if isinstance(value, list) else [value],
        json_schema_input_type=ContextValue | Annotated[list[ContextValue], Field(min_length=1, max_length=1000)],
    ),
]


class WhenBody(StrictModel):
    """All conditions must hold."""

    placements: Names | None = Field(None, description="one of these placements", examples=[["home"]])
    segments: Names | None = Field(None, description="the user is in one of these segments", examples=[["regulars"]])
    context: dict[ContextName, OneOrSome] = Field(
        {}, max_length=50, description="values of the context, or lists of values", examples=[{"country": ["DE", "AT"]}]
    )
    seed: Filter | None = Field(None, description="one of the seed items passes this filter")
    from_: str | None = Field(None, alias="from", max_length=64, description=TIME, examples=["2026-11-27"])
    until: str | None = Field(None, max_length=64, description=TIME + "; from then on the rule no longer acts")
    time_zone: str = Field("UTC", max_length=64, description="of the IANA database", examples=["Europe/Berlin"])


class ThenBody(StrictModel):
    """At least one effect."""

    filter: Filter | None = Field(None, description="only items that match are shown")
    boost: Boosts = Field([])
    bury: Filter | None = Field(None, description="items that match come after all others")
    pins: Pins = Field([])
    caps: Caps = Field({})

    @model_validator(mode="after")
    def _has_an_effect(self) -> ThenBody:
        if not (self.filter or self.boost or self.bury or self.pins or self.caps):
            raise ValueError(f"a rule needs at least one of {', '.join(type(self).model_fields)}")
        return self


class RuleDocument(StrictModel):
    description: str = Field("", max_length=1000, description="a note for people")
    enabled: bool = Field(True, description="false: the rule is off")
    priority: int = Field(0, ge=-1_000_000, le=1_000_000, description="pins of a higher priority choose first")
    when: WhenBody = Field(default_factory=WhenBody)
    then: ThenBody


EXAMPLE: dict[str, Any] = {
    "priority": 10,
    "when": {"placements": ["home"], "from": "2026-11-27", "until": "2026-12-01", "time_zone": "Europe/Berlin"},
    "then": {"boost": [{"filter": {"categories": {"contains": "gifts"}}, "factor": 1.5}], "bury": {"stock": 0}},
}
