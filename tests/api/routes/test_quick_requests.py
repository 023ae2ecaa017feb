"""Boosted, shaped and explained shelves start on the event loop, and go to a thread when they need more work."""

from __future__ import annotations

import asyncio

import pytest

from api.routes import recommend as route
from tests.api.conftest import Shop

USER = {"user_id": "odd-user-3", "exclude": "none", "k": 5}
BOOST = [{"filter": {"price": {"gte": 15}}, "factor": 3}]


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests that moved to a thread."""
    made: list[str] = []
    to_thread = asyncio.to_thread

    async def counted(work, *args, **more):  # type: ignore[no-untyped-def]
        made.append("thread")
        return await to_thread(work, *args, **more)

    monkeypatch.setattr(route.asyncio, "to_thread", counted)
    return made


@pytest.mark.parametrize(
    "asked", [{}, {"diversity": 0.5}, {"caps": {"price": 1}}, {"group_by": "price"}, {"explain": 3}, {"boost": BOOST}]
)
def test_a_shelf_is_the_same_on_the_event_loop_and_in_a_thread(shop: Shop, moves: list[str], asked: dict) -> None:
    in_thread = shop.post("/recommend", USER | asked | {"deadline_ms": 10_000}).json()
    n_before = len(moves)
    assert n_before == 1
    for _ in range(2):  # boosts are compiled by the first
        on_loop = shop.post("/recommend", USER | asked).json()
    assert on_loop["items"] == in_thread["items"]
    assert len(moves) == n_before, "it needs no thread"


def test_a_shelf_that_caps_leave_short_is_finished_in_a_thread(shop: Shop, moves: list[str]) -> None:
    shelf = shop.post("/recommend", USER | {"caps": {"categories": 1}}).json()
    assert moves == ["thread"]
    assert len({item["fields"]["categories"][0] for item in shelf["items"]}) == len(shelf["items"]) == 2
    assert shelf["shortfall"]["requested"] == 5
