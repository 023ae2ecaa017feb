"""Answer: the items of one shelf, best first, with their scores and the reasons why they are on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from engine.errors import Problem

Reason = Literal[
    "history",
    "popular",
    "similar",
    "vector",
    "new",
    "rank",
    "unranked",
    "bought_together",
    "trending",
    "recently_viewed",
    "buy_again",
    "people",
    "random",
    "listed",
    "pinned",
    "explored",
]
PartName = Literal["base", "boost", "objective", "rotation"]


class Hit(NamedTuple):
    item_id: str
    row: int  # -1: not in the catalogue
    score: float
    reason: Reason
    source: str  # the strategy that found the item; "rank" for items that the request lists to be ranked


@dataclass(frozen=True)
class Shortfall:
    requested: int
    returned: int
    reason: str


@dataclass(frozen=True)
class Explanation:
    """Items of the history and their contributions to a score, the largest absolute values first."""

    by: tuple[tuple[str, float], ...]
    exact: bool  # all contributions sum to the score; otherwise each is the loss of the score without that item


class Part(NamedTuple):
    """What one step adds to the score of an item."""

    name: PartName
    adds: float
    at: int | None = None  # the place of a boost in the request


@dataclass(frozen=True)
class Answer:
    hits: tuple[Hit, ...]
    shortfall: Shortfall | None = None
    because: Mapping[str, Explanation] | None = None  # by item id; None: not requested
    warnings: tuple[Problem, ...] = ()  # parts of the request that had no effect, such as a pin of an unavailable item
    parts: Mapping[str, tuple[Part, ...]] | None = None  # by item id, whose sum is the score; None: not requested
    siblings: Mapping[str, tuple[str, ...]] | None = None  # by item id: the other items of its group; None: no groups
