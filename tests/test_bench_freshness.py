"""scripts/bench_freshness.py: it queries every worker, and distinguishes a fresh, an older and a missing answer."""

from __future__ import annotations

import httpx
import pytest

from tests.benches import SCRIPTS, rows_of

SMALL = "--items 200 --rounds 2 --workers 1 --load 1 --json"


def test_a_row_for_each_change_counts_the_reads_of_every_connection_and_the_wrong_of_them() -> None:
    rows, _ = rows_of("bench_freshness.py", SMALL)
    assert [row["change"] for row in rows] == ["event", "new item", "price change", "out of stock", "delete"]
    for row in rows:
        assert (row["asked"], row["wrong"], row["never_answered"]) == (48, 0, 0)


@pytest.mark.parametrize(
    ("answers", "within_s", "expected"),
    [
        ([(200, "new")], 10, (True, 0)),
        ([(200, "old")], 10, (False, 0)),
        ([(503, ""), (503, ""), (200, "new")], 10, (True, 2)),
        ([(503, ""), (200, "old")], 10, (False, 1)),
        ([(503, "")], -1, (None, 1)),
    ],
)
def test_a_503_is_asked_again_and_neither_right_nor_wrong(
    answers: list[tuple[int, str]],
    within_s: float,
    expected: tuple[bool | None, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from bench_freshness import checked

    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        status, text = next(left)
        return httpx.Response(status, text=text)

    with httpx.Client(base_url="http://shop", transport=httpx.MockTransport(answer)) as client:
        found = checked(client, "/recommend?min_seq=7", lambda seen: seen.text == "new", within_s)
    assert (found.shown, found.refused) == expected
    assert next(left, None) is None
