"""Ids of files are normalised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from engine.importing import ImportSummary, Layout, import_features, import_items, import_users, vectors
from engine.importing.cells.cells import normalise_ids
from engine.importing.records import read
from engine.store import events, items, users
from engine.store.database.connections import Database
from engine.store.doctor import checks, id_normalisation
from engine.store.spaces import Space
from engine.store.users import User
from engine.values.ids import normalise_id

Load = Callable[..., ImportSummary]
NFD, NFC = "cafe\u0301", "caf\xe9"
SIGNS = st.sampled_from(["a", "e", "\u0301", " ", "\t", "\xa0", "\u200b", "1", "~", "\x7f", "\n", "/", ".0"])


@given(st.lists(st.one_of(st.none(), st.lists(SIGNS, max_size=5).map("".join)), max_size=5))
def test_a_column_is_normalised_as_each_id_is(texts: list[str | None]) -> None:
    column = pl.Series(texts, dtype=pl.String)
    assert normalise_ids(column).to_list() == [None if text is None else normalise_id(text) for text in texts]


def test_one_customer_and_one_item_in_a_file_of_events(load: Load, tmp_path: Path, stored: Any) -> None:
    path = tmp_path / "events.csv"
    rows = [f'"{user}","{item}",2025-01-01' for user in ("1", "1 ", "\ufeff1") for item in (NFD, f"{NFC}\t")]
    path.write_text("user_id,item_id,occurred_at\n" + "\n".join(rows))
    summary = load(path)
    assert (summary.written, summary.rejected) == (6, {})
    assert {row[:2] for row in stored()} == {("1", NFC)}


def test_one_item_and_one_user_in_catalogue_files(database: Database, space: Space, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(f'{{"item_id": "{NFD} ", "title": "a"}}\n{{"item_id": "{NFC}"}}\n')
    (tmp_path / "users.csv").write_text("user_id,city\n 7,Bonn\n7,Kiel\n")
    assert import_items(database, space.name, tmp_path / "items.jsonl").duplicates == 1
    assert import_users(database, space.name, tmp_path / "users.csv").duplicates == 1
    with database.connect() as conn:
        assert items.get(conn, space.key, NFC).item_id == NFC
        assert users.ids(conn, space.key) == ["7"]


def test_one_record_and_one_vector_in_every_kind_of_file(database: Database, space: Space, tmp_path: Path) -> None:
    (tmp_path / "records.csv").write_text(f"id,heat\n{NFD},1\n {NFC},2\n")
    assert import_features(database, space.name, tmp_path / "records.csv", Layout("id")).written == 1
    np.savez(tmp_path / "records.npz", x=np.ones((2, 3)), ids=np.array([f"{NFD} ", "b"]))
    assert read(tmp_path / "records.npz", Layout()).ids == [NFC, "b"]
    (tmp_path / "words.vec").write_text(f"1 2\n{NFD} 1 2\n")
    assert vectors.read(tmp_path / "words.vec", Layout()).ids == [NFC]


def test_doctor_reports_unnormalised_ids_and_merges_them_into_the_normal_form(
    database: Database, space: Space, load: Load, tmp_path: Path
) -> None:
    path = tmp_path / "events.csv"
    rows = [f"{user},{item},2025-01-0{n}" for n, (user, item) in enumerate(zip("1234", "abca", strict=True), 1)]
    path.write_text(
        "user_id,item_id,occurred_at,title,attributes.size,attributes.hue\n"
        + "\n".join(f"{row},T{n},{n},{hue}" for n, (row, hue) in enumerate(zip(rows, ["", "red", "", ""], strict=True)))
    )
    load(path)
    rename = {"users": {"2": "1 ", "4": "3.0"}, "items": {"b": "a\xa0"}}
    with database.begin() as conn:
        assert checks._check_ids(conn)[1]
        for table, names in rename.items():
            for name, other in names.items():
                update = f"UPDATE {table} SET {table[:-1]}_id = %s WHERE {table[:-1]}_id = %s AND space_key = %s"
                conn.exec_driver_sql(update, (other, name, space.key))
        told = checks._check_ids(conn)
        assert not told[1]
        assert f"2 users such as '1 ' in space {space.name}; 1 items such as 'a\\xa0'" in told[2]
        found = [each for each in id_normalisation.find_unnormalised(conn) if each.space == space.name]
        assert [id_normalisation.normalise(conn, each) for each in found] == [True] * 3
        assert users.ids(conn, space.key) == ["1", "3"]
        assert events.history(conn, space.key, "1", 10).item_ids == ("a", "a")
        assert events.history(conn, space.key, "3", 10).item_ids == ("a", "c")
        assert items.get(conn, space.key, "a").attributes == {"size": 3, "hue": "red"}
        assert items.count(conn, space.key) == 2
        assert checks._check_ids(conn)[1]


def test_an_id_whose_normal_form_was_erased_stays(database: Database, space: Space) -> None:
    with database.begin() as conn:
        users.upsert(conn, space.key, [User("ann"), User("ann ")])
        users.delete(conn, space.key, "ann")
        [found] = [each for each in id_normalisation.find_unnormalised(conn) if each.space == space.name]
        assert not id_normalisation.normalise(conn, found)
        assert users.delete(conn, space.key, "ann ").rows["users"] == 1
