"""The stages of shaping, in their order. A new stage is a file beside this one and one line here."""

from __future__ import annotations

from engine.recommending.shaping import caps, diversity, group_by
from engine.recommending.shaping.fixed_slots import Find, FixedSlots
from engine.recommending.shaping.pins import place_pins
from engine.recommending.shaping.stage import Stage
from engine.recommending.values.context import Context
from engine.recommending.values.request import Request


def needs_fixed_slots(request: Request) -> bool:
    return bool(request.pins)


def fixed_slots(context: Context, find: Find) -> FixedSlots:
    return place_pins(context, find)


SHAPING: tuple[Stage, ...] = (
    Stage(group_by.shape, group_by.n_candidates, "group_by"),
    Stage(caps.shape, caps.n_candidates, "caps"),
    Stage(diversity.shape, diversity.n_candidates, "diversity"),
)
