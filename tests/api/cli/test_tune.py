"""tune: a search that continues where the last one stopped, and a model version of its best trial."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from engine.store import models, spaces
from engine.store.database.connections import open_database

TINY = ("tune", "--minutes", "0.03", "--embedder", "spectral")


@pytest.fixture
def study(shop: Any) -> Path:
    """The file of the trials of the shop, which does not exist yet."""
    path: Path = shop.settings.home / "studies" / "default.json"
    path.unlink(missing_ok=True)
    return path


def stored_trials(study: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(study.read_bytes())["trials"]
    return found


def test_a_second_search_continues_the_first_and_restart_starts_again(shop: Any, study: Path) -> None:
    shop.json(*TINY)
    first = stored_trials(study)
    process = shop.start(*TINY, "--json")
    printed, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (0, "")
    more = stored_trials(study)
    assert more[: len(first)] == first
    assert len(more) > len(first)
    assert len(json.loads(printed.splitlines()[-1])["evaluation"]["choice"]["trials"]) == len(more)
    shop.json(*TINY, "--restart")
    again = stored_trials(study)
    assert again[0]["params"] == first[0]["params"]
    assert [trial["seconds"] for trial in again[:3]] != [trial["seconds"] for trial in more[:3]]  # measured anew


def test_the_winner_is_fitted_on_everything_and_stored_with_its_trials(shop: Any, study: Path) -> None:
    made = shop.json(*TINY)
    trials = stored_trials(study)
    assert {trial["embedder"] for trial in trials} == {"spectral"}
    winner = max((trial for trial in trials if trial["state"] == "done"), key=lambda t: t["recall"] + t["ndcg"])
    with open_database(shop.settings) as database, database.connect() as conn:
        record = models.get(conn, spaces.get(conn, "default").key, made["model"])
    assert record.params.items() >= winner["params"].items()
    assert record.evaluation["choice"]["trials"] == made["evaluation"]["choice"]["trials"]
    assert [trial["params"] for trial in record.evaluation["choice"]["trials"]] == [t["params"] for t in trials]
    newest = shop.json("models")["models"][0]
    assert (newest["model"], newest["embedder"], newest["items"], newest["users"]) == (
        made["model"],
        "spectral",
        40,
        60,
    )
    assert made["evaluation"]["recall@20"] > made["evaluation"]["popularity"]["recall@20"]
    assert made["published"] is False
    assert shop.json("index")["model"] == made["model"]


def test_a_search_prints_its_trials_best_first(shop: Any, study: Path) -> None:
    lines = shop.text(*TINY).splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("trials: "))
    assert f"{sum(trial['state'] == 'done' for trial in stored_trials(study))} done" in lines[at]
    assert lines[at + 1].split() == ["embedder", "parameters", "state", "recall@20", "ndcg@20", "seconds"]
    assert "dim=" in lines[at + 2]
    assert any(line.startswith("item-kNN") for line in lines)
    assert lines[-1].endswith("next: nearfield index")


def test_a_search_that_is_stopped_loses_no_trial_that_ended(shop: Any, study: Path) -> None:
    versions = shop.json("models")
    process = shop.start("tune", "--minutes", "60", "--embedder", "spectral")
    while not study.exists() or len(stored_trials(study)) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in error
    assert shop.json("models") == versions
    before = stored_trials(study)
    shop.json(*TINY)
    assert stored_trials(study)[: len(before)] == before


def test_a_search_of_other_embedders_keeps_the_earlier_trials(shop: Any, study: Path) -> None:
    shop.json(*TINY)
    first = stored_trials(study)
    other = shop.json("tune", "--minutes", "0.03", "--embedder", "ials")
    assert {trial["embedder"] for trial in other["evaluation"]["choice"]["trials"]} == {"ials"}
    shop.json(*TINY)
    assert [trial for trial in stored_trials(study) if trial["embedder"] == "spectral"][: len(first)] == first
    assert {trial["embedder"] for trial in stored_trials(study)} == {"spectral", "ials"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--minutes", "0"], 2, "expected --minutes above 0, got 0"),
        (["--minutes", "-3"], 2, "expected --minutes above 0, got -3"),
        (["--minutes", "nan"], 2, "expected --minutes above 0, got nan"),
        (["--minutes", "long"], 2, "'--minutes'"),
        (["--embedder", "magic"], 2, "expected embedders of spectral, "),
        (["--minutes", "0.03", "--device", "toaster"], 2, "expected a device of cpu or cuda"),
        (["--space", "nowhere"], 1, "there is no space 'nowhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_impossible_search_is_an_error_of_one_sentence_and_keeps_the_trials(
    shop: Any, study: Path, arguments: list[str], code: int, says: str
) -> None:
    study.parent.mkdir(exist_ok=True)
    study.write_text('{"data": "other", "trials": []}')
    before = study.read_bytes()
    assert says in shop.fails("tune", "--restart", *arguments, code=code)
    assert study.read_bytes() == before


def test_a_broken_study_is_an_error_and_restart_replaces_it(shop: Any, study: Path) -> None:
    study.parent.mkdir(exist_ok=True)
    study.write_text('{"data": 1}')
    assert "is not a study of nearfield" in shop.fails(*TINY, code=2)
    shop.json(*TINY, "--restart")
    assert stored_trials(study)


def test_there_is_nothing_to_tune_on_without_events(shell: Any) -> None:
    (shell.folder / "items.jsonl").write_text('{"item_id": "new-1", "title": "New"}\n')
    shell.json("import", "items", "items.jsonl", "--space", "unsold")
    assert "import" in shell.fails(*TINY, "--space", "unsold", code=1)
