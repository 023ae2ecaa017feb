"""Errors: exit code 2 for wrong input, 1 for any other error, and one sentence on stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

EVENTS = "user_id,item_id,occurred_at\nu,i,2026-01-01\n"
NOT_HERE = "postgresql://nobody@127.0.0.1:9/nothing"


@pytest.fixture(scope="module", autouse=True)
def files(shell: Any) -> Path:
    folder: Path = shell.folder
    (folder / "empty.csv").touch()
    (folder / "events.csv").write_text(EVENTS)
    (folder / "wrong.csv").write_text("who,item_id,occurred_at\nu,i,2026-01-01\n")
    pa.parquet.write_table(pa.table({"user_id": ["u"] * 100}), folder / "whole.parquet")
    (folder / "cut.parquet").write_bytes((folder / "whole.parquet").read_bytes()[:-20])
    (folder / "a-file").touch()
    return folder


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["import", "events", "nowhere.csv"], "nowhere.csv does not exist"),
        (["import", "events", "empty.csv"], "empty.csv is empty"),
        (["import", "events", "wrong.csv"], "who, item_id, occurred_at"),
        (["import", "events", "cut.parquet"], "cut.parquet cannot be read as PARQUET"),
        (["import", "events", "events.csv", "--set", "kind"], "--set takes name=value"),
        (["import", "events", "events.csv", "--space", "No Such"], "expected a space name"),
        (["import", "events"], "Missing argument"),
        (["train", "--embedder", "magic"], "expected an embedder of spectral"),
        (["train", "--set", "colour=red"], "has no parameter 'colour'; it has dim"),
        (["train", "--set", "dim=many"], "dim of spectral"),
        (["train", "--embedder", "ials", "--set", "reg=nan"], "reg of ials"),
        (["recommend", "--k", "0"], "expected a --k of 1 to 1000, got 0"),
        (["recommend", "--k", "-1"], "expected a --k of 1 to 1000, got -1"),
        (["recommend", "--k", "1000000000"], "expected a --k of 1 to 1000"),
        (["recommend", "--k", "few"], "'--k'"),
        (["recommend", "--user", ""], "non-empty"),
        (["recommend", "--all"], "give --out FILE"),
        (["search"], "give --item"),
        (["search", "--unlike", "i"], "give --item"),
        (["weights", "--kind", "purchase=lots"], "a weight is a number"),
        (["weights", "--kind", "purchase=nan"], "finite"),
        (["weights", "--predict", "all"], "expected a predict of new, any, got 'all'"),
        (["keys", "create", "--scope", "everything"], "expected a scope of read, write, admin"),
        (["serve", "--port", "99999"], "expected a port of 0 to 65535, got 99999"),
        (["serve", "--workers", "0"], "expected at least 1 worker"),
        (["nonsense"], "No such command 'nonsense'"),
        (["train", "--nonsense"], "No such option: --nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_an_error_of_one_sentence(shell: Any, arguments: list[str], says: str) -> None:
    assert says in shell.fails(*arguments, code=2)


def test_an_import_that_fails_makes_no_space(shell: Any) -> None:
    shell.fails("import", "events", "wrong.csv", "--space", "half", code=2)
    assert "there is no space 'half'" in shell.fails("status", "--space", "half", code=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "--space", "nowhere"], "there is no space 'nowhere'"),
        (["train"], "import"),
        (["reindex"], "import"),
        (["evaluate"], "import"),
        (["index"], "run `nearfield train`"),
        (["index", "--model", "9"], "there is no model version 9"),
        (["publish"], "run `nearfield index`"),
        (["publish", "nothing"], "there is no generation 'nothing'"),
        (["rollback"], "no earlier generation"),
        (["search", "--vector", "[1]"], "nothing is indexed yet"),
        (["recommend", "--all", "--out", "all.csv"], "has no users yet"),
        (["keys", "revoke", "nothing"], "there is no live key"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_about_missing_data_says_what_to_do(shell: Any, arguments: list[str], says: str) -> None:
    assert says in shell.fails(*arguments, code=1)


def test_a_wrong_setting_is_an_error_that_names_it(shell: Any) -> None:
    for name in ("NEARFIELD_MAX_K", "NEARFIELD_HISTORY_LIMIT"):
        assert name in shell.fails("recommend", code=2, **{name: "many"})
        assert name in shell.fails("recommend", code=2, **{name: "-1"})
    assert "PostgreSQL is unreachable" in shell.fails("status", code=1, NEARFIELD_DATABASE_URL=NOT_HERE)
    assert "expected a postgresql:// URL" in shell.fails("status", code=1, NEARFIELD_DATABASE_URL="mysql://host/name")
    assert "a-file cannot be used as NEARFIELD_HOME" in shell.fails("status", code=1, NEARFIELD_HOME="a-file")
    assert "cannot be used as NEARFIELD_HOME" in shell.fails("status", code=1, NEARFIELD_HOME="/proc/nowhere")


def test_doctor_reports_that_the_database_is_unreachable(shell: Any) -> None:
    done = shell.run("doctor", "--json", NEARFIELD_DATABASE_URL=NOT_HERE)
    checks = {check["name"]: check for check in json.loads(done.stdout.splitlines()[-1])["checks"]}
    assert (done.returncode, done.stderr) == (1, "")
    assert not checks["database"]["ok"]


def test_an_unknown_device_is_an_error(shop: Any) -> None:
    assert "expected a device of cpu or cuda" in shop.fails("train", "--device", "toaster", code=2)


def test_wrong_vectors_and_output_files_are_errors(shop: Any) -> None:
    dim = shop.json("models")["models"][0]["dim"]
    assert f"expected {dim} dimensions" in shop.fails("search", "--vector", "[1, 2]", code=2)
    assert "--vector is a JSON list" in shop.fails("search", "--vector", "[NaN]", code=2)
    assert "zero vector" in shop.fails("search", "--vector", json.dumps([0] * dim), code=2)
    assert "there is no item 'nothing'" in shop.fails("search", "--item", "nothing", code=1)
    assert "there is no folder" in shop.fails("recommend", "--all", "--out", "nowhere/all.csv", code=2)
    assert "expected a .parquet, .csv or .jsonl" in shop.fails("recommend", "--all", "--out", "all.txt", code=2)
