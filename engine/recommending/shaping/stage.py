"""Stage: one step of shaping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.recommending.values.answer import Hit
from engine.recommending.values.context import Context
from engine.recommending.values.request import Request


def n_items(request: Request) -> int:
    return request.k


@dataclass(frozen=True)
class Stage:
    """A stage that the request does not ask for returns the candidates as they are."""

    shape: Callable[[Context, list[Hit]], list[Hit]]  # candidates, best first -> the chosen ones, in their new order
    n_candidates: Callable[[Request], int] = n_items  # how many it chooses from, at least k
    name: str = "shaping"  # as the request names it; a shortfall names the stages that leave items out
