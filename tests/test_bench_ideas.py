"""bench_ideas compares each idea with the same model without it."""

import numpy as np
import polars as pl

from tests.benches import rows_of
from tests.engine.learning.test_auto_select_and_tune import split


def test_every_idea_is_a_row_with_its_ratio(tmp_path):
    users, items = split().train.matrix.nonzero()
    cells = {"user": users.astype(np.int64), "item": items.astype(np.int64)}
    pl.DataFrame(cells).write_parquet(tmp_path / "train.parquet")  # there is no test file to read
    rows, _ = rows_of("bench_ideas.py", f"--data {tmp_path} --group closed --group sum --json")
    ideas = [row["idea"] for row in rows]
    assert len(ideas) == len(set(ideas)) == 13
    for row in rows:
        for name in ("recall", "ndcg"):
            without, with_ = row[f"{name}@20 without"], row[f"{name}@20 with"]
            assert 0 < without <= 1
            assert 0 < with_ <= 1
            assert abs(row[f"{name} ratio"] - with_ / without) < 0.01
    # the models do differ: a ratio of a model to itself would be 1 throughout
    assert len({row["recall ratio"] for row in rows}) > 3
