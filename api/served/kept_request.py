"""Kept requests: the JSON of a request for a shelf as it was asked for, enough to ask again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from api.messages.shelf_schemas import RecommendQuery, ShelfBody

# The user and the session have columns of their own, and a vector is too large to keep. The rest is not of the shelf.
NOT_KEPT = frozenset({"user_id", "session_id", "vector", "cursor", "fields", "explain", "min_seq", "deadline_ms"})


def kept_request(body: ShelfBody | RecommendQuery, shown: Sequence[str]) -> str:
    """JSON text that `ShelfBody` accepts. `shown`, the items of the pages before, become excluded items."""
    asked: dict[str, Any] = body.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=set(NOT_KEPT))
    if isinstance(filter_ := asked.get("filter"), str):
        asked["filter"] = orjson.loads(filter_)
    if shown:
        asked["exclude_items"] = [*asked.get("exclude_items", ()), *shown]
    return orjson.dumps(asked).decode()
