"""Source: the candidates of a shelf, and what continues the shelf when they run out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.recommending.values.context import Context
from engine.recommending.values.ordered import Ordered
from engine.recommending.values.ranking import Ranking
from engine.recommending.values.request import Request


def no_items(request: Request) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Source:
    rank: Callable[[Sequence[Context]], list[Ranking | None]]  # one for each request; None: nothing is known for it
    fallback: Callable[[Context], Ordered | None]  # continues a shelf; None: the shelf stays short
    shortfall: Callable[[Context], str]  # the reason why a shelf has fewer than k items
    never_shows: Callable[[Request], Sequence[str]] = no_items  # item ids, such as the items searched from
