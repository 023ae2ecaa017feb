"""Source: the candidates of a shelf, and the sources that continue the shelf when they run out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.recommending.sources.shortfall import no_more_items
from engine.recommending.values.context import Context
from engine.recommending.values.ranking import Ranking


def no_items(context: Context) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Source:
    rank: Callable[[Sequence[Context]], list[Ranking | None]]  # one for each request; None: nothing is known for it
    fallback: tuple[str, ...] = ()  # names of sources: the default of requests; (): a shelf stays short
    shortfall: Callable[[Context, Sequence[str]], str] = no_more_items  # why a shelf of these sources is short
    never_shows: Callable[[Context], Sequence[str]] = no_items  # item ids, such as the items searched from
    exclude: str | tuple[str, ...] = "seen"  # the default of requests, as `parse_exclude` reads it
    shows: frozenset[str] = frozenset()  # relations of a user to items that the source is made of: not excluded in it
