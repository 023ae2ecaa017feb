"""Numeric timestamps: a number is one plausible time, or none."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import polars as pl
import pytest
from pydantic import TypeAdapter, ValidationError

from api.messages.timestamps import Moment
from engine.catalogue import comparable_values
from engine.importing.cells.cells import parse_iso_times
from engine.values.numeric_timestamps import read_number, units_at

NOW = datetime(2026, 11, 27, tzinfo=UTC)
THEN = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (1_580_702_706, THEN),
        (1_580_702_706_000, THEN),
        (1_580_702_706_000_000, THEN),
        (1_580_702_706_000_000_000, THEN),
        (1_580_702_706.25, THEN.replace(microsecond=250_000)),
        (20261101, datetime(2026, 11, 1, tzinfo=UTC)),
        (631_152_000, datetime(1990, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_number_is_the_one_moment_of_our_time_that_it_can_be(number: float, moment: datetime) -> None:
    assert read_number(number, NOW) == moment


@pytest.mark.parametrize(
    "number",
    [0, -1, 86_400, 46_327, 631_151_999, 1_830_297_600, 20261131, 20261101.5, 202611011230, 1e30, float("nan")],
)
def test_any_other_number_is_no_time(number: float) -> None:
    assert read_number(number, NOW) is None


def test_no_number_is_a_time_in_two_units() -> None:
    edges = sorted((unit.low, unit.high) for unit in units_at(NOW))
    assert all(high < low for (_, high), (low, _) in pairwise(edges))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("2016-12-31 23:59:60", "2017-01-01T00:00:00+00:00"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500000+00:00"),
        ("2017-01-01T05:29:60+05:30", "2017-01-01T00:00:00+00:00"),
        ("2016-12-31T23:59:59Z", "2016-12-31T23:59:59+00:00"),
        ("2016-12-31T23:59:61Z", None),
    ],
)
def test_a_leap_second_is_read_the_same_in_files_bodies_and_attributes(text: str, at: str | None) -> None:
    in_files = parse_iso_times(pl.Series([text]))[0]
    try:
        in_bodies = TypeAdapter(Moment).validate_python(text)
    except ValidationError:
        in_bodies = None
    if in_bodies is not None and in_bodies.tzinfo is None:
        in_bodies = in_bodies.replace(tzinfo=UTC)
    in_attributes = comparable_values.parse_moment(text)
    wanted = None if at is None else datetime.fromisoformat(at)
    assert [in_files, in_bodies] == [wanted, wanted]
    assert in_attributes == (None if wanted is None else wanted.timestamp() * 1e6)
