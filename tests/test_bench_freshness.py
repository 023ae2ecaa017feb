"""scripts/bench_freshness.py: every worker is asked, and an answer, an older one and none are told apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench_freshness.py"
SMALL = "--items 200 --rounds 2 --workers 1 --load 1 --json"


def test_a_row_for_each_change_counts_the_reads_of_every_connection_and_the_wrong_of_them() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEARFIELD_")}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *SMALL.split()],
        env=environment | {"PYTHONPATH": str(SCRIPT.parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
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
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from bench_freshness import checked

    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        status, text = next(left)
        return httpx.Response(status, text=text)

    with httpx.Client(base_url="http://shop", transport=httpx.MockTransport(answer)) as client:
        found = checked(client, "/recommend?min_seq=7", lambda seen: seen.text == "new", within_s)
    assert (found.shown, found.refused) == expected
    assert next(left, None) is None
