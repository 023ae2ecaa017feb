"""The fields of a user that a segment of users can filter by.

`attributes.NAME` is an attribute as the storefront stored it. All other fields are computed from the stored events of
the user: counts by kind (0 without such an event), times (missing without such an event), and lists (missing when they
would be empty). Impressions are no events here: the user did not choose to see the item. A word for a kind means what
the vocabulary of the space says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

UserKind = Literal["text", "number", "time", "texts"]

PREFIX = "user."  # before the name of a computed field, so that it differs from every field of an item
COUNTED: Mapping[str, str] = MappingProxyType(  # field -> the kind of the events that it counts
    {
        "n_views": "view",
        "n_clicks": "click",
        "n_carts": "cart",
        "n_likes": "like",
        "n_purchases": "purchase",
        "n_returns": "return",
        "n_dislikes": "dislike",
    }
)
COUNTS = ("n_events", *COUNTED)
TIMES = ("created_at", "first_event_at", "last_event_at", "first_purchase_at", "last_purchase_at")
LISTS = ("items_seen", "items_bought", "categories_seen", "categories_bought")
FIELDS_OF: Mapping[UserKind, tuple[str, ...]] = {"text": ("user_id",), "number": COUNTS, "time": TIMES, "texts": LISTS}
KINDS = MappingProxyType({name: kind for kind, names in FIELDS_OF.items() for name in names})


@dataclass(frozen=True)
class UserFacts:
    """One user. Times are microseconds since 1970 UTC; a missing count is 0."""

    user_id: str
    attributes: Mapping[str, object] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)  # of COUNTS
    times: Mapping[str, int] = field(default_factory=dict)  # of TIMES
    lists: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of LISTS; only those that were asked for

    def by_field(self) -> dict[str, object]:
        """The values by the names that the conditions of a `UserFilter` have."""
        values: dict[str, object] = {f"attributes.{name}": value for name, value in self.attributes.items()}
        values[PREFIX + "user_id"] = self.user_id
        values |= {PREFIX + name: self.counts.get(name, 0) for name in COUNTS}
        values |= {PREFIX + name: at for name, at in self.times.items()}
        values |= {PREFIX + name: sorted(each) for name, each in self.lists.items() if each}
        return values
