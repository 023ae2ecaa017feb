"""Ids: any text up to 256 bytes outside, rows inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError, NotFound
from engine.ids import IdMap, check_id

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=64)


@given(TEXT)
def test_any_text_of_up_to_256_bytes_without_nul_is_an_id(text):
    assert check_id(text) == text


@pytest.mark.parametrize("id_", ["a/b", "🧢", "قميص", "x" * 256, "é" * 128, " "])
def test_slashes_emoji_and_right_to_left_text_are_ids(id_):
    assert check_id(id_) == id_


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("", "expected a non-empty text id, got ''"),
        (None, "expected a non-empty text id, got None"),
        (7, "expected a non-empty text id, got 7"),
        ("a\x00b", "an id cannot contain NUL"),
        ("x" * 257, "an id has at most 256 bytes of UTF-8, got 257"),
        ("é" * 129, "an id has at most 256 bytes of UTF-8, got 258"),
        ("\ud800", "an id must be valid Unicode, got a lone surrogate"),
    ],
)
def test_what_is_no_id_is_refused_where_it_stands(value, sentence):
    with pytest.raises(InputError) as told:
        check_id(value, loc=("body", 3, "item_id"))
    assert str(told.value) == sentence
    assert told.value.problems[0].loc == ("body", 3, "item_id")


@given(st.lists(TEXT, unique=True))
def test_rows_and_ids_are_inverse(ids):
    map_ = IdMap(ids)
    assert map_.rows(ids, missing="error").tolist() == list(range(len(ids)))
    assert [map_.ids[row] for row in map_.rows(ids[::-1], missing="skip")] == ids[::-1]
    assert all(id_ in map_ for id_ in ids)


def test_unknown_ids_are_skipped_or_an_error_as_asked():
    map_ = IdMap(["a", "b"])
    assert map_.rows(["b", "x", "a"], missing="skip").tolist() == [1, 0]
    with pytest.raises(NotFound, match="unknown id 'x' and 1 more"):
        map_.rows(["b", "x", "y"], missing="error")
    assert map_.row("x") is None


def test_duplicate_ids_are_refused():
    with pytest.raises(InputError, match="distinct, got 2 duplicates"):
        IdMap(["a", "b", "a", "a"])
