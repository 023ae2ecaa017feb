"""Schemas of `strategy`, `fallback`, `fill` and `user_ids`."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

Strategy = Literal[
    "for_you",
    "similar",
    "bought_together",
    "popular",
    "trending",
    "new",
    "recently_viewed",
    "buy_again",
    "for_these_people",
    "random",
    "list",
]
STRATEGY = (
    "which items are candidates: for the user or history (`for_you`), like `item_ids` or the last items of the history "
    "(`similar`), bought with them (`bought_together`), `popular`, `trending`, `new`, those of the history "
    "(`recently_viewed`), those due to be bought again (`buy_again`), for the users `user_ids` together "
    "(`for_these_people`), `random`, or `item_ids` themselves in their order (`list`)"
)
USER_IDS = "the users that `for_these_people` is for, together"
FALLBACK = (
    "strategies that continue a shelf, one after the other, when its own strategy has no more items; default: as the "
    "guide of strategies says, `[]`: none"
)
Fallback = Annotated[list[Strategy], Field(max_length=10, description=FALLBACK, examples=[["similar", "popular"]])]
Fill = Annotated[
    Literal["popular", "new", "none"],
    Field(
        description="short form of `fallback`: the default with popular or new items as its last strategy, or no "
        "fallback at all; not beside `fallback`"
    ),
]


def names_from_text(value: object) -> object:
    """Names of a query: a repeated parameter, or one JSON list."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) and value[0].startswith("["):
        try:
            return json.loads(value[0])
        except (ValueError, RecursionError):
            raise ValueError('expected names of strategies, or a JSON list such as ["similar","popular"]') from None
    return value


FallbackText = Annotated[Fallback, BeforeValidator(names_from_text)]
