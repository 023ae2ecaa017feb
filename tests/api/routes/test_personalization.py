"""`session_id` and `personalization`: what is read of a user, and what is not."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from engine.store.database.connections import Database
from tests.api.conftest import Shop

OF_VISITOR = ("user_id", "session_id", "personalization")
BACKGROUND = ("nearfield-poller", "nearfield-listener", "nearfield-notifier", "nearfield-shelves", "MainThread")


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


@pytest.fixture
def of_regulars(shop: Shop, visit: tuple[str, str]) -> Iterator[str]:
    """A rule for a segment that the user is in, by the events of more than the session."""
    name = f"regulars-{visit[0]}"
    assert shop.put(f"/segments/{name}", {"of": "users", "filter": {"n_events": {"gte": 5}}}).status_code == 200
    rule = {"when": {"segments": [name]}, "then": {"pins": [{"position": 1, "item_id": "even-19"}]}}
    assert shop.put(f"/rules/{name}", rule).status_code == 200
    yield name
    assert shop.delete(f"/rules/{name}").status_code == shop.delete(f"/segments/{name}").status_code == 200


@pytest.mark.parametrize("mode", ["full", "session", "none"])
def test_segments_of_users_are_read_for_a_whole_profile_only(
    shop: Shop, database: Database, visit: tuple[str, str], of_regulars: str, mode: str
) -> None:
    user, session = visit
    asked = {"user_id": user, "session_id": session, "k": 3, "rotation": "1d", "personalization": mode}
    page = {"shelves": [{"name": "a", "k": 3}, {"name": "b", "k": 3, "seed": {"event": "view"}}], "distinct": False}
    assert shop.put("/pages/front", page).status_code == 200
    seq = shop.put("/placements/front", {"k": 3}).json()["seq"]
    assert shop.get("/recommend", params={"k": 1, "min_seq": seq}).status_code == 200  # the server knows the rule
    with statements(database) as found:
        answers = [
            shop.post("/recommend", asked),
            shop.get("/recommend", params=asked | {"placement": "front"}),
            *shop.post("/recommend/batch", {"shelves": [asked, asked]}).json()["shelves"],
            *shop.post("/page", {"page": "front"} | {name: asked[name] for name in OF_VISITOR}).json()["shelves"],
        ]
    acted = [each.json()["rules"] if isinstance(each, httpx.Response) else each["rules"] for each in answers]
    if mode == "full":
        assert acted == [[of_regulars]] * 6
        assert any("user_id" in each and "session_id" not in each for each in found)
    else:
        assert acted == [[]] * 6
    if mode == "session":  # the first item of the shelf of a page is of the session too
        assert len(found) >= 4
        assert all("session_id =" in each for each in found), found
        assert answers[-1]["seed"] in ODD
    if mode == "none":
        assert found == []


@pytest.mark.parametrize("mode", ["session", "none"])
def test_a_group_of_users_needs_their_whole_profiles(shop: Shop, mode: str) -> None:
    asked = {"strategy": "for_these_people", "user_ids": ["odd-user-1"], "personalization": mode}
    refused = shop.post("/recommend", asked)
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["body", "user_ids"])


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
