"""`session_id` and `personalization`: what is read of a user, and what is not."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from engine.store.database.connections import Database
from tests.api.conftest import Shop

BACKGROUND = ("nearfield-poller", "nearfield-listener", "nearfield-shelves", "MainThread")


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements of requests while the block runs."""
    found: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if threading.current_thread().name not in BACKGROUND and "api_keys" not in statement:
            found.append(statement)

    sa.event.listen(database.db, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(database.db, "before_cursor_execute", note)


@pytest.fixture
def visit(shop: Shop) -> tuple[str, str]:
    """A user with even items, and a session of theirs with odd ones, partly from before they were known."""
    tag = secrets.token_hex(4)
    user, session = f"user-{tag}", f"visit-{tag}"
    rows = [{"user_id": user, "item_id": f"even-{n:02}"} for n in range(5)]
    rows += [{"session_id": session, "item_id": f"odd-{n:02}"} for n in range(3)]
    rows += [{"user_id": user, "session_id": session, "item_id": f"odd-{n:02}"} for n in range(3, 5)]
    assert shop.post("/events", rows).json()["accepted"] == 10
    return user, session


def ids(answer: Any) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {item["item_id"] for item in answer.json()["items"]}


def reasons(answer: Any) -> set[str]:
    return {item["reason"] for item in answer.json()["items"]}


ODD, EVEN = ({f"{side}-{n:02}" for n in range(20)} for side in ("odd", "even"))


def test_a_session_without_a_user_is_a_visitor(shop: Shop, visit: tuple[str, str]) -> None:
    _, session = visit
    answer = shop.get("/recommend", params={"session_id": session, "k": 5})
    assert ids(answer) <= ODD - {"odd-00", "odd-01", "odd-02"}  # the later ones are events of the user
    assert reasons(answer) == {"history"}
    assert ids(answer) == ids(shop.get("/recommend", params={"user_id": session, "k": 5}))


def test_personalization_by_session_reads_only_events_of_that_session(shop: Shop, visit: tuple[str, str]) -> None:
    user, session = visit
    asked = {"user_id": user, "session_id": session, "personalization": "session", "k": 15}
    shown = ODD - {f"odd-{n:02}" for n in range(5)}
    single = shop.post("/recommend", asked)
    assert ids(single) == ids(shop.get("/recommend", params=asked)) == shown
    [of_batch, whole] = shop.post("/recommend/batch", {"shelves": [asked, asked | {"personalization": "full"}]}).json()[
        "shelves"
    ]
    assert {item["item_id"] for item in of_batch["items"]} == shown
    assert not {item["item_id"] for item in whole["items"]} & {f"even-{n:02}" for n in range(5)}
    later = {"history": [{"item_id": "odd-10"}]}
    assert ids(shop.post("/recommend", asked | later | {"k": 14})) == shown - {"odd-10"}
    nothing = shop.post("/recommend", {"user_id": user, "personalization": "session", "k": 3})
    assert reasons(nothing) == {"popular"}


def test_with_none_no_statement_reads_a_profile(shop: Shop, database: Database, visit: tuple[str, str]) -> None:
    user, session = visit
    asked: dict[str, Any] = {"user_id": user, "session_id": session, "k": 5, "rotation": "1d"}
    page = {"shelves": [{"name": "a", "k": 5}, {"name": "b", "k": 5, "seed": {}, "title": "Because of {item_id}"}]}
    assert shop.put("/pages/plain", page).status_code == 200
    on_page = {"page": "plain", "user_id": user, "session_id": session}
    for mode, n_least in (("full", 1), ("session", 1), ("none", 0)):
        said = {"personalization": mode}
        with statements(database) as found:
            answers = [
                shop.post("/recommend", asked | said),
                shop.get("/recommend", params=asked | said),
                shop.post("/recommend/batch", {"shelves": [asked | said, asked | said]}),
                shop.post("/page", on_page | said),
            ]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert len(found) >= 4 * n_least
        if mode == "none":
            assert found == []
            assert reasons(answers[0]) == {"popular"}
            assert answers[3].json()["shelves"][1]["items"] == []  # a shelf that starts from the history


def test_with_none_history_is_not_used_and_a_vector_is_refused(shop: Shop) -> None:
    asked = {"personalization": "none", "k": 5}
    assert reasons(shop.post("/recommend", asked | {"history": [{"item_id": "odd-01"}]})) == {"popular"}
    refused = shop.post("/recommend", asked | {"vector": [1.0] * 8})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"][-1] == "vector"
    assert ids(shop.post("/recommend", asked | {"strategy": "similar", "item_ids": ["odd-01"]})) <= ODD


def test_a_placement_can_lower_personalization_and_a_request_cannot_raise_it(
    shop: Shop, database: Database, visit: tuple[str, str]
) -> None:
    user, session = visit
    assert shop.put("/placements/quiet", {"personalization": "session", "k": 5}).status_code == 200
    asked = {"user_id": user, "session_id": session, "placement": "quiet"}
    assert ids(shop.post("/recommend", asked)) <= ODD - {f"odd-{n:02}" for n in range(5)}
    with statements(database) as found:
        assert reasons(shop.post("/recommend", asked | {"personalization": "none"})) == {"popular"}
    assert found == []
    raised = shop.post("/recommend", asked | {"personalization": "full"})
    assert raised.status_code == 422
    assert raised.json()["errors"][0]["loc"][-1] == "personalization"


def test_a_shelf_of_a_page_can_read_less_than_the_page(shop: Shop, visit: tuple[str, str]) -> None:
    user, session = visit
    shelves = [{"name": mode, "k": 5, "personalization": mode} for mode in ("full", "session", "none")]
    assert shop.put("/pages/modes", {"shelves": shelves, "distinct": False}).status_code == 200
    answer = shop.post("/page", {"page": "modes", "user_id": user, "session_id": session})
    assert answer.status_code == 200, answer.text
    of_session, nobody = answer.json()["shelves"][1:]
    assert {item["item_id"] for item in of_session["items"]} <= ODD - {f"odd-{n:02}" for n in range(5)}
    assert {item["reason"] for item in nobody["items"]} == {"popular"}


@pytest.mark.parametrize("wrong", [{"session_id": ""}, {"session_id": "a\x00"}, {"personalization": "all"}])
def test_mistakes_name_their_field(shop: Shop, wrong: dict[str, str]) -> None:
    answer = shop.post("/recommend", wrong)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"][-1] == next(iter(wrong))
