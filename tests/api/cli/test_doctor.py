"""doctor finds and mends ids that were stored before ids had a normal form."""

from __future__ import annotations

from typing import Any

from engine.store.database.connections import open_database


def test_doctor_merges_ids_that_have_the_same_normal_form(shell: Any) -> None:
    (shell.folder / "clicks.csv").write_text("user_id,item_id,occurred_at\nann,tent,2026-01-01\nben,tent,2026-01-02\n")
    shell.text("import", "events", "clicks.csv")
    with open_database(shell.settings) as database, database.begin() as conn:
        conn.exec_driver_sql("UPDATE users SET user_id = 'ann ' WHERE user_id = 'ben'")
    told = shell.run("doctor")
    assert told.returncode == 1
    assert (
        "1 users such as 'ann ' in space default; merge them into the normal form with `nearfield doctor --mend-ids`"
        in " ".join(told.stdout.split())
    )
    assert "1 ids have their normal form now; run `nearfield reindex`" in shell.text("doctor", "--mend-ids")
    assert shell.json("doctor", "--mend-ids")["ids_mended"] == 0
    assert shell.json("status")["users"] == 1
