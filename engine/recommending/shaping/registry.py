"""The stages of shaping, in their order. A new stage is a file beside this one and one line here."""

from __future__ import annotations

from engine.recommending.shaping import caps, diversity, group_by
from engine.recommending.shaping.stage import Stage
from engine.recommending.values.request import Request


def needs_find(request: Request) -> bool:
    """Whether a stage searches for items beside the candidates."""
    return bool(request.pins) or request.choose_by is not None or request.explore > 0


SHAPING: tuple[Stage, ...] = (
    Stage(group_by.shape, group_by.n_candidates, "group_by"),
    Stage(caps.shape, caps.n_candidates, "caps"),
    Stage(diversity.shape, diversity.n_candidates, "diversity"),
)
