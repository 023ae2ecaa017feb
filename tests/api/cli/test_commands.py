"""Every command once, as a user runs it, on a shop whose right answers are obvious."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.checkpoints import Checkpoints

COMMANDS = (
    *("demo", "serve", "migrate", "import", "train", "evaluate", "index", "publish", "rollback", "reindex", "weights"),
    *("embedders", "recommend", "search", "status", "models", "generations", "doctor", "keys", "tune", "encode"),
    *("decode", "reconstruct", "anomalies", "interpolate", "sample", "kpis", "drift", "compress", "map", "export"),
    *("users", "placements", "pages", "rules", "segments"),
)
FIGURES = {
    *("recall@20", "recall@20_interval", "ndcg@20", "ndcg@20_interval", "coverage@20", "n_users"),
    *("popularity", "item_knn"),
}
TRAINED = {
    *("model", "embedder", "dim", "metric", "published", "generation", "evaluation", "fit_seconds", "index_seconds"),
    *("peak_mb", "resumed"),
}
BESIDE = ("popularity", "recent_popularity", "popularity_of_all_times", "item_knn")
GOOD = ("--embedder", "spectral", "--set", "dim=8")
POOR = ("--embedder", "ials", "--set", "dim=1", "--set", "iterations=1", "--set", "reg=1000")


def sides(answer: dict[str, Any]) -> set[str]:
    return {item["item_id"].split("-")[0] for item in answer["items"]}


def test_help_lists_every_command(shell: Any) -> None:
    shown = shell.text("--help")
    assert set(re.findall(r"^│ (\w+) ", shown, flags=re.MULTILINE)) == set(COMMANDS)


def test_an_import_counts_every_row_and_a_second_one_writes_nothing(shell: Any, sales: Path) -> None:
    columns = {"user_id": "CustomerID", "item_id": "StockCode", "occurred_at": "InvoiceDate"}
    mapped = [part for field, name in columns.items() for part in ("--column", f"{field}={name}")]
    again = ("import", "events", str(sales), *mapped, "--set", "kind=view", "--space", "default")
    first, second = shell.json(*again), shell.json(*again)
    assert first.pop("seconds") > 0
    assert first.pop("kinds") == [{"kind": "view", "rows": 480, "taken_as": "view", "weight": 1.0, "known": True}]
    assert first == {"read": 481, "written": 480, "duplicates": 0, "rejected": {"missing user_id": 1}}
    assert (second["written"], second["duplicates"], second["rejected"]) == (0, 480, {"missing user_id": 1})
    assert "row 481, missing user_id: CustomerID=, StockCode=odd-01" in shell.text(*again)


def test_rejected_rows_go_into_a_file(shell: Any, sales: Path) -> None:
    fields = ("user_id=CustomerID", "item_id=StockCode", "occurred_at=InvoiceDate")
    mapped = [part for field in fields for part in ("--column", field)]
    shell.text("import", "events", str(sales), *mapped, "--rejects", "rejects.csv")
    with (shell.folder / "rejects.csv").open() as file:
        assert [(row["StockCode"], row["reason"]) for row in csv.DictReader(file)] == [("odd-01", "missing user_id")]


def test_items_and_users_are_imported_with_their_attributes(shell: Any) -> None:
    (shell.folder / "items.jsonl").write_text('{"item_id": "new-1", "title": "New", "price": 3}\n')
    (shell.folder / "users.csv").write_text("user_id,country\nsomebody,France\n")
    expected = {"read": 1, "written": 1, "duplicates": 0, "rejected": {}}
    for what, file in (("items", "items.jsonl"), ("users", "users.csv")):
        summary = shell.json("import", what, file, "--space", "catalogue") | {"seconds": 0}
        assert summary == expected | {"seconds": 0}
    status = shell.json("status", "--space", "catalogue")
    assert (status["items"], status["users"], status["events"], status["model"]) == (1, 1, 0, None)


def test_train_index_and_publish_do_what_reindex_does_and_rollback_undoes_it(shop: Any) -> None:
    before = shop.json("status")["generation"]
    trained = shop.json("train", "--set", "dim=8")
    assert trained.keys() == TRAINED
    assert trained["evaluation"].keys() >= FIGURES
    assert trained["dim"] == 8
    assert (trained["published"], trained["generation"], trained["index_seconds"]) == (False, None, None)
    assert trained["evaluation"]["recall@20"] > trained["evaluation"]["popularity"]["recall@20"]

    built = shop.json("index")
    assert (built["model"], built["indexes"]["metric"]["factory"]) == (trained["model"], "Flat")
    assert shop.json("status")["generation"] == before, "an index is not served before it is published"
    assert shop.json("publish")["generation"] == built["generation"]
    assert shop.json("status")["generation"] == built["generation"]
    assert shop.json("rollback")["generation"] == before

    done = shop.json("reindex", "--embedder", "ials", "--set", "dim=8", "--recipe", "hnsw")
    assert done.keys() == TRAINED
    assert (done["published"], done["embedder"], done["metric"]) == (True, "ials", "dot")
    rows = {row["generation"]: row for row in shop.json("generations")["generations"]}
    assert [name for name, row in rows.items() if row["served"]] == [done["generation"]]
    assert rows[done["generation"]]["recipe"].startswith("HNSW")
    versions = shop.json("models")["models"]
    assert (versions[0]["embedder"], versions[0]["publishable"]) == ("ials", True)


def test_training_reports_its_memory_and_what_it_resumed(shop: Any) -> None:
    parameters = ("--embedder", "mf", "--set", "dim=8", "--set", "epochs=2")
    trained = shop.json("train", *parameters)
    assert trained["peak_mb"] > 50
    assert trained["resumed"] == []
    with pytest.MonkeyPatch.context() as patch:  # written after every batch, and killed before the model is saved
        patch.setattr("api.cli.learn.train.Checkpoints", lambda folder: Checkpoints(folder, every_s=0))
        patch.setattr("indexing.building.reindex.models.save", lambda *given, **options: sys.exit(9))
        assert shop.run("train", *parameters).returncode == 9
    kept = shop.settings.home / "checkpoints" / "default"
    assert len(list(kept.glob("*.checkpoint"))) == 3  # of the evaluation, of unseen users, of everything
    again = shop.json("train", *parameters)
    assert again["resumed"] == ["mf resumed at its end"] * 3
    assert again["evaluation"]["recall@20"] == trained["evaluation"]["recall@20"]
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize(
    ("parameter", "code", "says"),
    [
        ("learning_rate=1e6", 1, r"mf diverged, loss by epoch [-\d.e+na, ]+; lower learning_rate"),
        ("dim=100000000", 2, r"mf needs about [\d.,]+ GiB for .*, [\d.]+ GiB are free; dim \d+ would fit"),
    ],
)
def test_training_that_fails_is_an_error_of_one_sentence_and_saves_nothing(
    shop: Any, parameter: str, code: int, says: str
) -> None:
    before = shop.json("models")["models"]
    assert re.fullmatch(says, shop.fails("train", "--embedder", "mf", "--set", parameter, code=code))
    assert shop.json("models")["models"] == before


def test_evaluate_saves_nothing_and_prints_the_figures_of_training(shop: Any) -> None:
    before = shop.json("models")
    assert shop.json("evaluate", "--embedder", "spectral").keys() >= FIGURES
    assert shop.json("models") == before


@pytest.mark.parametrize("split", ["random", "last"])
def test_evaluate_uses_the_requested_split(shop: Any, split: str) -> None:
    made = shop.json("evaluate", "--split", split)
    assert made["split"] == split
    assert made["choice"]["reason"]


@pytest.fixture(scope="module")
def versions(shop: Any) -> tuple[str, str]:
    """The versions of a model that tells odd from even and of one that does not."""
    return str(shop.json("train", *GOOD)["model"]), str(shop.json("train", *POOR, "--force")["model"])


def test_two_versions_are_compared_on_the_same_users_beside_the_baselines(shop: Any, versions: tuple[str, str]) -> None:
    process = shop.start("evaluate", "--compare", *versions, "--json")
    printed, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (0, "")
    found = json.loads(printed.splitlines()[-1])
    assert (found["models"], found["split"]) == ([int(version) for version in versions], "time")
    alone = shop.json("evaluate", *GOOD)
    assert {name: found[name] for name in BESIDE} == {name: alone[name] for name in BESIDE}
    assert found["n_users"] == alone["n_users"] > 20
    assert found["first"].items() <= alone.items()
    for name in ("recall@20", "ndcg@20"):
        first, second, apart = found["first"][name], found["second"][name], found[name]
        assert apart["difference"] == pytest.approx(second - first, abs=2e-5)
    apart = found["ndcg@20"]
    low, high = apart["interval"]
    assert low < apart["difference"] < high < 0
    assert apart["p"] < 0.01


def test_versions_are_compared_on_a_random_split_if_requested_or_if_events_have_no_times(shop: Any) -> None:
    with (shop.folder / "untimed.csv").open("w") as file:
        file.write("user_id,item_id,occurred_at\n")
        for side in ("odd", "even"):
            for user in range(30):
                file.writelines(f"{side}-{user},{side}-{(user * 3 + step * 7) % 20},2026-01-01\n" for step in range(12))
    of = ("--space", "untimed")
    shop.json("import", "events", "untimed.csv", "--set", "kind=view", *of)
    versions = [str(shop.json("train", *model, "--force", *of)["model"]) for model in (GOOD, POOR)]
    asked = ("evaluate", "--compare", *versions, *of)
    found, plain = shop.json(*asked, "--split", "random"), shop.json(*asked)
    assert plain == found
    assert (found["split"], found["n_users"]) == ("random", 60)
    alone = shop.json("evaluate", *GOOD, "--split", "random", *of)
    assert {name: found[name] for name in BESIDE} == {name: alone[name] for name in BESIDE}
    assert found["first"].items() <= alone.items()
    assert shop.text(*asked).startswith("on a random tenth of the users' items, 60 users\n")
    other = shop.json(*asked, "--split", "random", "--seed", "1")
    assert other["popularity"] != found["popularity"], "another seed divides otherwise"


def test_a_comparison_is_printed_with_the_baselines(shop: Any, versions: tuple[str, str]) -> None:
    first, second = versions
    found = shop.json("evaluate", "--compare", *versions)
    title, header, *lines = shop.text("evaluate", "--compare", *versions).splitlines()
    assert title == f"on the last tenth of the events, {found['n_users']} users"
    assert header.split()[:2] == ["recall@20", "95%"]
    names = [f"{first} spectral", f"{second} ials", *(each.replace("_", " ") for each in BESIDE)]
    names[-1] = "item-kNN"
    figures = [found[name]["recall@20"] for name in ("first", "second", *BESIDE)]
    for line, name, recall in zip(lines[: len(names)], names, figures, strict=True):
        assert line.startswith(name)
        assert re.search(r"\d\.\d{4}", line.removeprefix(name))[0] == f"{recall:.4f}"
    lines = lines[len(names) :]
    assert lines[0] == f"{second} ials minus {first} spectral"
    for line, name in zip(lines[2:], ("recall@20", "ndcg@20"), strict=True):
        (low, high), apart = found[name]["interval"], found[name]
        assert line.split() == [
            *(name, f"{apart['difference']:.4f}", f"{low:+.4f}", "to", f"{high:+.4f}", f"{apart['p']:.4f}")
        ]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["1", "999"], 1, "there is no model version 999"),
        (["1", "-1"], 1, "there is no model version -1"),
        (["1", "1", "--set", "dim=4"], 2, "leave out --embedder and --set"),
        (["1", "latest"], 2, "'--compare': Input should be a valid integer"),
        (["1"], 2, "'--compare' requires 2 arguments"),
        (["1", "1", "--split", "weekly"], 2, "expected a --split of time, random, last, got 'weekly'"),
    ],
)
def test_an_impossible_comparison_is_an_error(shop: Any, arguments: list[str], code: int, says: str) -> None:
    assert says in shop.fails("evaluate", "--compare", *arguments, code=code)


def test_a_filter_holds_for_recommend_search_and_the_batch(shop: Any, tmp_path: Path) -> None:
    few = {f"odd-{n:02}" for n in range(5)}
    asked = json.dumps({"title": {"in": [f"Odd [thing] {n}" for n in range(5)]}})
    for command in (["recommend", "--item", "odd-09"], ["search", "--item", "odd-09"]):
        body = shop.json(*command, "--filter", asked, "--k", "5")
        assert {each["item_id"] for each in body["items"]} == few
    file = tmp_path / "recs.parquet"
    shop.json("recommend", "--all", "--out", str(file), "--k", "3", "--filter", asked)
    assert set(pl.read_parquet(file)["item_id"]) <= few


def test_exclude_takes_a_word_or_a_list_of_relations(shop: Any, tmp_path: Path) -> None:
    def shown(*exclude: str) -> set[str]:
        return {
            each["item_id"] for each in shop.json("recommend", "--user", "odd-user-3", "--k", "40", *exclude)["items"]
        }

    everything = shown("--exclude", "[]")
    assert shown() < shown("--exclude", "none") == everything
    assert shown("--exclude", '["seen"]') == shown("--exclude", "seen") == shown()
    file = tmp_path / "recs.parquet"
    shop.json("recommend", "--all", "--out", str(file), "--k", "40", "--exclude", "none")
    assert set(pl.read_parquet(file).filter(pl.col("user_id") == "odd-user-3")["item_id"]) == everything
    assert "expected seen, purchased or none" in shop.fails("recommend", "--user", "u", "--exclude", "some", code=2)


def test_status_shows_how_much_changed_since_the_index_was_built(shop: Any) -> None:
    status = shop.json("status")
    assert (status["generation"] is not None, status["recall@20"]) == (True, 1.0)
    assert (status["delta_share"], status["tombstone_share"]) == (0, 0)
    assert status["generation_age_s"] >= 0
    assert "popularity_half_life_days" in status


def test_tables_keep_their_header_on_one_line_without_a_terminal(shop: Any) -> None:
    header, *rows = shop.text("models").splitlines()
    names = ["model", "embedder", "dim", "metric", "items", "users", "recall@20", "ndcg@20", "publishable", "created"]
    assert header.split() == names
    assert len(rows) == len(shop.json("models")["models"])


def test_recommend_answers_for_a_user_and_for_a_visitor_with_titles(shop: Any) -> None:
    known = shop.json("recommend", "--user", "odd-user-3", "--k", "5")
    assert len(known["items"]) == 5
    assert known["items"][0]["item_id"].startswith("odd-")
    assert known["items"][0]["fields"]["title"].startswith("Odd [thing] ")
    assert sides(shop.json("recommend", "--item", "even-03", "--item", "even-05", "--k", "1")) == {"even"}
    unknown = shop.json("recommend", "--user", "nobody", "--k", "3")
    assert {item["reason"] for item in unknown["items"]} == {"popular"}
    assert "Even [thing]" in shop.text("recommend", "--item", "even-03")


def test_recommend_takes_a_strategy_and_its_fallback(shop: Any) -> None:
    def slots(*arguments: str) -> list[tuple[str, str]]:
        return [(each["item_id"], each["source"]) for each in shop.json("recommend", *arguments)["items"]]

    listed = ("--strategy", "list", "--item", "odd-09", "--item", "even-02")
    assert slots(*listed) == [("odd-09", "list"), ("even-02", "list")]
    assert [source for _, source in slots(*listed, "--fallback", "new", "--k", "3")] == ["list", "list", "new"]
    assert slots("--strategy", "similar", "--item", "odd-03", "--k", "1")[0][0].startswith("odd-")
    people = ("--strategy", "for_these_people", "--person", "even-user-1", "--person", "even-user-2")
    assert slots(*people, "--k", "1")[0][0].startswith("even-")
    assert slots("--strategy", "random", "--seed", "1") == slots("--strategy", "random", "--seed", "1")
    viewed = slots("--strategy", "recently_viewed", "--user", "odd-user-3", "--exclude", "none")
    assert {source for _, source in viewed} == {"recently_viewed"}
    assert len(slots("--strategy", "for_you", "--fallback", "none", "--user", "nobody")) == 0
    for arguments, says in (
        (("--strategy", "newest"), "--strategy takes one of"),
        (("--fallback", "newest"), "--fallback takes one of"),
        (("--strategy", "similar"), "starts from item_ids"),
        (("--strategy", "new", "--fallback", "new"), "circle"),
        (("--strategy", "for_these_people"), "user_ids"),
        (("--all", "--out", "x.csv", "--strategy", "new"), "leave out --strategy"),
    ):
        assert says in shop.fails("recommend", *arguments, code=2)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_recommend_for_everyone_writes_a_file(shop: Any, suffix: str) -> None:
    name = f"recommendations.{suffix}"
    body = shop.json("recommend", "--all", "--k", "3", "--out", name)
    readers = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}
    frame = readers[suffix](shop.folder / name)
    assert frame.columns == ["user_id", "rank", "item_id", "score", "reason", "title"]
    assert (body["users"], body["rows"], frame.height) == (60, 180, 180)
    own = frame.filter(pl.col("rank") == 1)
    assert (own["user_id"].str.head(3) == own["item_id"].str.head(3)).all()
    assert not list(shop.folder.glob(".*.partial"))


def test_search_by_item_unlike_and_vector(shop: Any) -> None:
    assert sides(shop.json("search", "--item", "odd-03", "--k", "1")) == {"odd"}
    assert sides(shop.json("search", "--item", "odd-03", "--unlike", "even-03", "--k", "1")) == {"odd"}
    dim = next(row["dim"] for row in shop.json("models")["models"] if row["model"] == shop.json("status")["model"])
    found = shop.json("search", "--vector", json.dumps([1.0] + [0.0] * (dim - 1)), "--k", "5")
    scores = [item["score"] for item in found["items"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 5


def test_a_key_is_shown_once_listed_without_its_text_and_revoked(shop: Any) -> None:
    made = shop.json("keys", "create", "--scope", "write", "--label", "the shop")
    listed = {row["key_id"]: row for row in shop.json("keys", "list")["keys"]}
    assert (listed[made["key_id"]]["label"], listed[made["key_id"]]["state"]) == ("the shop", "live")
    assert made["key"] not in shop.text("keys", "list")
    shop.text("keys", "revoke", made["key_id"])
    assert [row["state"] for row in shop.json("keys", "list")["keys"]] == ["revoked"]
    assert "no live key" in shop.fails("keys", "revoke", made["key_id"], code=1)


def test_weights_are_changed_and_stay_changed(shop: Any) -> None:
    shop.text("weights", "--kind", "purchase=7", "--half-life-days", "30")
    found = shop.json("weights")
    assert (found["kinds"]["purchase"], found["half_life_days"]) == (7.0, 30.0)
    assert "half-life: 30 days" in shop.text("weights")
    assert shop.json("weights", "--half-life-days", "0")["half_life_days"] is None
    assert "items new to the user" in shop.text("weights")
    assert "an item counts once" not in shop.text("weights")
    assert "an item counts once" in shop.text("weights", "--repeat", "binary")
    shop.text("weights", "--repeat", "log")
    assert shop.json("weights", "--predict", "any")["predict"] == "any"
    assert "bought before or not" in shop.text("weights")
    assert shop.json("evaluate", "--embedder", "spectral").get("repeats") is True
    assert "repeat purchases included" in shop.text("evaluate", "--embedder", "spectral")
    assert shop.json("weights", "--predict", "new")["predict"] == "new"


def test_usual_names_of_kinds_are_understood_and_an_unknown_kind_is_reported_until_it_has_a_weight(shell: Any) -> None:
    kinds = ("Transaction", "Order Completed", "wishlist")
    rows = [f"ann,camp-{n},{kind},2026-11-01" for n, kind in enumerate(kinds)]
    (shell.folder / "words.csv").write_text("\n".join(["user_id,item_id,kind,occurred_at", *rows]) + "\n")
    of = ("--space", "words")
    said = shell.text("import", "events", "words.csv", *of)
    assert "1 `Transaction` taken as purchase" in said
    assert "1 `wishlist` are of no known kind" in said
    assert shell.json("status", *of)["unknown_kinds"] == {"wishlist": 1}
    assert "1 'wishlist': each weighs 0" in shell.text("status", *of)
    assert shell.json("weights", "--kind", "Wish List=2", "--kind", "PURCHASE=6", *of)["kinds"]["purchase"] == 6.0
    assert shell.json("status", *of)["unknown_kinds"] == {}
    told = " ".join(shell.text("weights", *of).split())
    assert "purchase 6.0000" in told
    assert "Wish List 2.0000" in told
    assert "order_completed" in told


def test_embedders_are_listed_with_parameters_that_train_takes(shop: Any) -> None:
    found = shop.json("embedders")["embedders"]
    assert {"spectral", "ials"} <= found.keys()
    assert found["ials"]["dim"] == 128


def test_embedders_are_listed_with_their_abilities(shop: Any) -> None:
    said = shop.json("embedders")
    assert said["abilities"].keys() == said["embedders"].keys()
    names = ["learns_from", "metric", "fold_in", "codec", "samples", "resumable", "gpu"]
    mf = ["events", "cosine", "two_tables", False, False, True, True]
    assert said["abilities"]["mf"] == dict(zip(names, mf, strict=True))
    assert list(said["abilities"]["pca"].values()) == ["features", "cosine", "linear", True, False, False, False]
    lines = [line.split() for line in shop.text("embedders").splitlines()]
    assert ["ials", "events", "dot", "least_squares", "no", "no", "no", "yes"] in lines


def test_doctor_finds_a_flipped_byte(shop: Any) -> None:
    well = shop.json("doctor")
    assert well["ok"]
    assert all(check.keys() == {"name", "ok", "detail"} and check["ok"] for check in well["checks"])
    [loops] = [check["detail"] for check in well["checks"] if check["name"] == "compiled loops"]
    assert "s, kept in " in loops
    file = shop.settings.generations / "default" / shop.json("status")["generation"] / "items.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    ill = shop.run("doctor", "--json")
    assert ill.returncode == 1
    body = json.loads(ill.stdout.splitlines()[-1])
    wrong = [check for check in body["checks"] if not check["ok"]]
    assert not body["ok"]
    assert [str(file) in check["detail"] for check in wrong] == [True]
