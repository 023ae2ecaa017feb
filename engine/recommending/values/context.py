"""Context: what a stage reads beside the candidates."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from engine.recommending.values.answer import Hit
from engine.recommending.values.request import Request
from engine.recommending.values.view import View
from engine.values.events import Weighting

# the n best items of a view for the request, without excluded items and without the rows given
Find = Callable[[View, int, AbstractSet[int]], list[Hit]]


@dataclass(frozen=True, eq=False, slots=True)
class Context:
    """One request over the view that answers it. The mask of the view holds the availability and the filter."""

    view: View
    request: Request
    weighting: Weighting
    now_us: int
    excluded: AbstractSet[int] = frozenset()  # rows; only for the stages of shaping
    find: Find | None = None  # only for the stages of requests with `needs_find`
    fixed: tuple[Hit, ...] = ()  # the items of fixed slots, around which the stages of shaping choose
    computed: dict[str, object] = field(default_factory=dict)  # what several steps need, by name
