"""Number texts: numbers as they are written in the files of shops."""

from __future__ import annotations

import pytest

from engine.catalogue.number_text import is_decimal_comma, parse_number

READ = {
    "12": 12,
    "-5": -5,
    " 12.50 ": 12.5,
    "1e5": 100_000.0,
    "08": 8,
    "08.50": 8.5,
    "12,50": 12.5,
    "0,500": 0.5,
    "1.234,56": 1234.56,
    "1,234.56": 1234.56,
    "1.234.567": 1_234_567,
    "1,234,567": 1_234_567,
    "1 234,56": 1234.56,
    "1\u202f234": 1234,
    "1'234.50": 1234.5,
    "€12": 12,
    "12,50 €": 12.5,
    "-€5": -5,
    "USD 12": 12,
    "599 CZK": 599,
    "R$ 5": 5,
    "12,-": 12,
    "$1,234.56": 1234.56,
    "123456789012345678": 123_456_789_012_345_678,
}
NO_NUMBER = (
    "",
    "N/A",
    "yes",
    "007",
    "01234",
    "+44 20",
    "12 kg",
    "12%",
    "5-",
    "1_000",
    "1e999",
    "nan",
    "1,23,456",
    "१२",
    "1234567890123456789",
)


@pytest.mark.parametrize(("text", "value"), READ.items())
def test_a_form_that_can_mean_one_number_is_that_number(text: str, value: float) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize("text", NO_NUMBER)
def test_codes_units_and_words_are_not_numbers(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "undeclared", "comma", "point"),
    [
        ("12,500", None, 12.5, 12_500),
        ("$1,234", None, 1.234, 1234),
        ("1.234", 1.234, 1234, 1.234),
        ("8,5", 8.5, 8.5, 8.5),
    ],
)
def test_an_ambiguous_separator_is_read_after_the_decimal_is_declared(
    text: str, undeclared: float | None, comma: float, point: float
) -> None:
    assert (parse_number(text), parse_number(text, "comma"), parse_number(text, "point")) == (undeclared, comma, point)


def test_a_decimal_comma_is_known_where_it_can_be_nothing_else() -> None:
    assert [is_decimal_comma(text) for text in ("12,50", "€1.234,56", "1.234", "1,234.56", "12")] == [
        True,
        True,
        False,
        False,
        False,
    ]
