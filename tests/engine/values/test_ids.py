"""Ids: any text of at most 256 bytes, mapped to rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError, NotFound
from engine.values.ids import INVISIBLE, IdMap, check_id, check_normalised_id, normalise_id

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=64)


@given(TEXT)
def test_any_text_of_up_to_256_bytes_without_nul_is_an_id(text):
    assert check_normalised_id(text) == text
    if normalise_id(text):
        assert check_id(text) == check_id(f"\ufeff {text}\u200b\n") == normalise_id(text)


@given(TEXT)
def test_the_normal_form_of_an_id_is_its_own(text):
    assert normalise_id(normalise_id(text)) == normalise_id(text)


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ("1 ", "1"),
        ("\t1\r\n", "1"),
        ("\xa01\u3000", "1"),
        ("\ufeffsku-1", "sku-1"),
        ("\u202asku-1\u202c", "sku-1"),
        ("cafe\u0301", "caf\xe9"),
        ("\u212b", "\xc5"),
        ("two  words", "two  words"),
        ("new\nline", "new\nline"),
        ("Ａ1", "Ａ1"),  # a full-width A is another character than A
    ],
)
def test_an_id_is_stored_without_invisible_characters_around_it_in_normal_form(given_, kept):
    assert check_id(given_) == kept


def test_all_white_space_of_unicode_counts_as_such_around_an_id():
    assert [sign for sign in map(chr, range(0x110000)) if sign.isspace() and sign not in INVISIBLE] == []


@pytest.mark.parametrize("id_", ["a/b", "🧢", "قميص", "x" * 256, "é" * 128])
def test_slashes_emoji_and_right_to_left_text_are_ids(id_):
    assert check_id(id_) == id_


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("", "expected a non-empty text id, got ''"),
        (" \u200b", "expected a non-empty text id, got ''"),
        (None, "expected a non-empty text id, got None"),
        (7, "expected a non-empty text id, got 7"),
        ("a\x00b", "an id cannot contain NUL"),
        ("x" * 257, "an id has at most 256 bytes of UTF-8, got 257"),
        ("é" * 129, "an id has at most 256 bytes of UTF-8, got 258"),
        ("\ud800", "an id must be valid Unicode, got a lone surrogate"),
    ],
)
def test_an_invalid_id_is_refused_with_its_place(value, sentence):
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


@pytest.mark.parametrize(("given", "kept"), [("17850.0", "17850"), (" -1.0 ", "-1"), ("1.5", "1.5"), ("v1.0", "v1.0")])
def test_a_whole_number_of_a_column_of_floats_is_the_integer(given: str, kept: str) -> None:
    assert check_id(given) == kept
