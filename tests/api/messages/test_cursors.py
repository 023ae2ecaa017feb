"""Cursors hold what was shown, and open only for the space, the placement and the request that made them."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.messages.cursors import MAX_AGE_S, MAX_SHOWN, Series, after, series, shown
from api.messages.shelf_schemas import RecommendBody, RecommendQuery
from engine.errors import InputError

ROOT = Path(__file__).parents[3]
PAGES = Series(b"s" * 32, b"12345678", 1_800_000_000, "home")
ids = st.lists(
    st.text("aé-\n🛋 ", min_size=1, max_size=9).map(lambda text: f"i{text}.".strip()), min_size=1, unique=True
)


def refused(cursor: str | None, pages: Series) -> str:
    with pytest.raises(InputError) as caught:
        shown(cursor, pages, ("query", "cursor"))
    assert caught.value.problems[0].loc == ("query", "cursor")
    return str(caught.value)


@given(ids)
def test_a_cursor_returns_the_items_that_it_was_made_of(item_ids: list[str]) -> None:
    assert shown(after(item_ids, PAGES), PAGES, ()) == item_ids


@given(st.data())
def test_a_cursor_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    raw = bytearray(base64.urlsafe_b64decode(str(after(["a", "b"], PAGES)) + "=="))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    assert "unchanged" in refused(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="), PAGES)


@pytest.mark.parametrize("text", ["x", "AAAA", "é", "%25", "A" * 60_000, "", " "])
def test_text_that_is_no_cursor_is_refused(text: str) -> None:
    assert "unchanged" in refused(text, PAGES)


def test_a_cursor_of_another_space_placement_or_request_is_refused_with_the_reason() -> None:
    cursor = after(["a"], PAGES)
    assert "of this space" in refused(cursor, replace(PAGES, secret=b"t" * 32))
    assert refused(cursor, replace(PAGES, scope="cart")).startswith(
        "this cursor is of placement 'home', and the request is for placement 'cart'"
    )
    assert "a shelf without a placement" in refused(cursor, replace(PAGES, scope=""))
    assert "shelf 'best' of page 'home'" in refused(cursor, replace(PAGES, scope="home/best"))
    assert "another request" in refused(cursor, replace(PAGES, digest=b"87654321"))


def test_a_cursor_is_valid_for_a_day() -> None:
    cursor = after(["a"], PAGES)
    assert shown(cursor, replace(PAGES, now_s=PAGES.now_s + MAX_AGE_S), ()) == ["a"]
    assert "1.5 days old" in refused(cursor, replace(PAGES, now_s=PAGES.now_s + 36 * 3600))


def test_a_shelf_ends_at_a_number_of_items() -> None:
    many = [f"{at:0250}" for at in range(MAX_SHOWN)]
    assert shown(after(many, PAGES), PAGES, ()) == many
    assert after([*many, "one more"], PAGES) is None
    assert after([], PAGES) is None


def digest(body: RecommendBody | RecommendQuery) -> bytes:
    return series(b"", body, 0).digest


def test_the_same_question_continues_a_shelf_with_another_k_or_a_longer_session() -> None:
    first = RecommendBody(user_id="ann", k=4, filter={"price": {"lt": 9}}, caps={"brand": 1})
    same = RecommendBody.model_validate(
        {"user_id": "ann", "k": 9, "filter": {"price": {"lt": 9}}, "caps": {"brand": 1}, "fields": ["title"]}
        | {"history": [{"item_id": "a"}], "exclude_items": ["b"], "diversity": 0, "explain": 3}
    )
    query = RecommendQuery.model_validate({"user_id": "ann", "filter": '{"price": {"lt":9}}', "caps": '{"brand":1}'})
    assert digest(first) == digest(same) == digest(query)


@pytest.mark.parametrize(
    "more", [{"user_id": "bob"}, {"filter": {"price": 1}}, {"caps": {"brand": 2}}, {"diversity": 0.5}]
)
def test_another_question_does_not(more: dict[str, object]) -> None:
    asked = {"user_id": "ann", "boost": [{"filter": {"brand": "x"}, "factor": 2}]}
    assert digest(RecommendBody.model_validate(asked)) != digest(RecommendBody.model_validate(asked | more))


def test_a_cursor_is_of_the_same_request_in_every_process() -> None:
    code = """from api.messages.cursors import series
from api.messages.shelf_schemas import ShelfBody
asked = {"exclude": {"seen": "2d", "carted": None, "disliked": None, "returned": None}}
print(series(b"", ShelfBody.model_validate(asked), 0).digest.hex())"""
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            cwd=ROOT,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1
