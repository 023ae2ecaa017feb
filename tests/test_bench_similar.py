"""bench_similar compares similar items of each embedder with item-kNN."""

from tests.benches import rows_of


def test_every_embedder_has_a_row_beside_item_knn():
    rows, _ = rows_of("bench_similar.py", "--sizes 20 --seeds 2 --embedder spectral auto --json")
    assert [row["by"] for row in rows] == ["item-kNN", "spectral", "auto"] * 2
    for theirs, ours, chosen in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert theirs["share@5"] > 0.5  # of .25 by chance
        assert ours["share@5"] >= theirs["share@5"] - 0.03
        assert abs(ours["beside"] - (ours["share@5"] - theirs["share@5"])) < 1e-3
        assert ours["worst"] <= ours["beside"]
        assert chosen["chosen"]
