"""The users of a campaign for one item, written to a file."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from engine.store import spaces
from engine.store.database.connections import open_database
from engine.store.shelves import presets


def test_users_for_an_item_are_written_best_first_with_the_item_that_speaks_for_it(shop: Any) -> None:
    body = shop.json("users", "for-item", "odd-03", "--k", "12", "--out", "campaign.parquet")
    frame = pl.read_parquet(shop.folder / "campaign.parquet")
    assert frame.columns == ["user_id", "rank", "score", "reason", "because_item_id", "because_title"]
    assert frame["rank"].to_list() == list(range(1, 13))
    assert frame["score"].to_list() == sorted(frame["score"].to_list(), reverse=True)
    assert set(frame["user_id"].str.head(3)) == set(frame["because_item_id"].str.head(3)) == {"odd"}
    assert frame["because_title"].str.starts_with("Odd [thing] ").all()
    assert (body["users"], body["of"], body["without_vector"]) == (12, 60, 0)


def test_a_score_is_the_score_in_the_recommendations_of_the_user_and_no_buyer_is_in_the_file(shop: Any) -> None:
    body = shop.json("users", "for-item", "odd-03", "--out", "campaign.jsonl")
    rows = [json.loads(line) for line in (shop.folder / "campaign.jsonl").read_text().splitlines()]
    assert len(rows) == 60 - body["excluded"] < 60
    user = rows[0]["user_id"]
    shelf = shop.json("recommend", "--user", user, "--exclude", "purchased", "--k", "30")["items"]
    [score] = [item["score"] for item in shelf if item["item_id"] == "odd-03"]
    assert abs(rows[0]["score"] - score) < 1e-5
    everyone = shop.json("users", "for-item", "odd-03", "--exclude", "[]", "--out", "campaign.jsonl")
    assert (everyone["users"], everyone["excluded"]) == (60, 0)


def test_a_segment_limits_the_users(shop: Any) -> None:
    early = {"of": "users", "filter": {"last_purchase_at": {"lt": "2026-01-22T12:00:00Z"}}}
    with open_database(shop.settings) as database, database.begin() as conn:
        space = spaces.get(conn, "default")
        presets.put(conn, space.key, "segment", "early", early, "local")
        presets.put(conn, space.key, "segment", "nobody", {"of": "users", "filter": {"n_events": 0}}, "local")
    body = shop.json("users", "for-item", "odd-03", "--segment", "early", "--out", "campaign.parquet")
    early_users = {f"{side}-user-{n}" for side in ("odd", "even") for n in range(30) if n % 24 < 12}
    assert set(pl.read_parquet(shop.folder / "campaign.parquet")["user_id"]) <= early_users
    assert body["of"] == len(early_users) == body["users"] + body["excluded"]
    wrong = ("users", "for-item", "odd-03", "--out", "campaign.parquet", "--segment")
    assert "similar names: early" in shop.fails(*wrong, "earli", code=2)
    assert shop.fails(*wrong, "nobody", code=1) == "segment 'nobody' has no users yet"


def test_an_unknown_item_and_a_wrong_file_are_errors(shop: Any) -> None:
    out = ("--out", "campaign.parquet")
    assert shop.fails("users", "for-item", "no-such", *out, code=1) == "there is no item 'no-such'"
    assert "expected a .parquet" in shop.fails("users", "for-item", "odd-03", "--out", "x.txt", code=2)
    assert "--exclude 'some'" in shop.fails("users", "for-item", "odd-03", *out, "--exclude", "some", code=2)
