"""Durations written as a number and a unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.values.durations import MAX_US, UNITS_US, parse_duration, parse_now


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("12h", 43_200), ("1.5h", 5400), ("30d", 2_592_000), ("2w", 1_209_600), ("0.5s", 0.5)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text, ()) == seconds * 1_000_000


@given(n=st.integers(1, 1000), unit=st.sampled_from(list(UNITS_US)))
def test_every_number_of_every_unit_is_exact(n: int, unit: str) -> None:
    assert parse_duration(f"{n}{unit}", ()) == n * UNITS_US[unit]


@pytest.mark.parametrize(
    "text",
    ["", "30", "d", "30 d", " 30d", "30d\n", "-1d", "+1d", "0s", "0.0000001s", "1e3s", "1y", "1D", "٣d", "36501d"]
    + ["9" * 400 + "s", "1d12h", "nan", 30, 30.0, None, True, ["1d"], {"d": 1}],
)
def test_other_values_are_errors_that_name_the_field(text: object) -> None:
    with pytest.raises(InputError, match="such as 90s, 12h or 30d") as caught:
        parse_duration(text, ("body", "rotation"))
    assert [problem.loc for problem in caught.value.problems] == [("body", "rotation")]


def test_the_longest_duration_is_a_hundred_years() -> None:
    assert parse_duration("36500d", ()) == MAX_US


@pytest.mark.parametrize(
    ("text", "offset_us"), [("now", 0), ("now-1d", -86_400_000_000), ("now+90s", 90_000_000), ("2026-01-01", None)]
)
def test_a_time_may_be_relative_to_now(text: str, offset_us: int | None) -> None:
    assert parse_now(text, ("gte",)) == offset_us


def test_now_without_a_duration_is_an_error_at_its_place() -> None:
    with pytest.raises(InputError) as caught:
        parse_now("now-soon", ("filter", "gte"))
    assert [problem.loc for problem in caught.value.problems] == [("filter", "gte")]
