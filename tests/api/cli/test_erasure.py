"""A user erased at the command line, kept out of the next import, and allowed again."""

from __future__ import annotations

from typing import Any


def test_an_erased_user_is_left_out_of_the_next_import_until_allowed(shell: Any) -> None:
    (shell.folder / "clicks.csv").write_text("user_id,item_id,occurred_at\nann,tent,2026-01-01\nben,tent,2026-01-02\n")
    again = ("import", "events", "clicks.csv")
    shell.text(*again)
    assert shell.json("users", "erase", " ann ") == {
        "user_id": "ann",
        "erased": {"events": 1, "user_vectors": 0, "users": 1, "served_shelves": 0},
        "kept_out": ["ann"],
    }
    assert "1  user was erased" in shell.text(*again)
    assert shell.fails("users", "erase", "ann", code=1) == "there is no user 'ann'"
    assert shell.text("users", "allow", "ann") == "ann is allowed again\n"
    assert shell.fails("users", "allow", "ann", code=1) == "no erasure of 'ann' is on record"
    assert shell.json(*again)["written"] == 1
    rows = "1 of events, 0 of user_vectors, 1 of users, 0 of served_shelves"
    assert f"{rows}; excluded from imports: ben" in shell.text("users", "erase", "ben")
