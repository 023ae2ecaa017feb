"""Placements, pages, rules and segments as YAML files: apply, diff, export, show and list."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.store import items, spaces
from engine.store.database.connections import open_database
from engine.store.shelves import served_shelves
from engine.store.shelves.served_shelves import ServedShelf
from engine.values.items import Item
from tests.api.cli.conftest import Shell

RULES = """
rules:
  black-week:
    when: {from: 2026-11-27, context: {country: [NO, DE]}}
    then: {bury: {stock: 0}}
  gifts:
    priority: 3
    then:
      boost: [{filter: {segment: gifts}, factor: 1.5}]
"""
SEGMENTS = """
segments:
  all-gifts: {of: items, filter: {segment: gifts}}
  gifts: {of: items, filter: {categories: {contains: gifts}}}
"""


def write(shell: Shell, name: str, text: str) -> str:
    path = Path(shell.folder) / name
    path.write_text(text)
    return str(path)


def test_a_file_is_applied_changed_and_exported(shell: Shell) -> None:
    rules, segments = write(shell, "rules.yaml", RULES), write(shell, "segments.yaml", SEGMENTS)
    early = shell.run("rules", "apply", rules)
    assert (early.returncode, "there is no segment of items 'gifts'" in early.stderr) == (2, True)
    assert "rules.gifts: then.boost.0.filter.segment" in early.stderr
    assert "no rules" in shell.run("rules", "list").stdout  # not the other one either
    assert "2 created, 0 unchanged" in shell.run("segments", "apply", segments).stdout
    assert "+  then:" in shell.run("rules", "diff", rules).stdout
    assert json.loads(shell.run("rules", "apply", rules, "--json").stdout) == {
        "changes": {"black-week": "created", "gifts": "created"},
        "warnings": ["rules.black-week: then.bury.stock: no item has an attribute 'stock'"],
    }
    assert "no change, 2 unchanged" in shell.run("rules", "apply", rules).stdout
    body = json.loads(shell.run("rules", "show", "black-week", "--json").stdout)["body"]
    assert body["when"] == {"from": "2026-11-27", "context": {"country": ["NO", "DE"]}}  # neither a date nor False

    changed = write(shell, "rules.yaml", RULES.replace("1.5", "1.7").replace("  black-week", "  xmas"))
    shown = shell.run("rules", "diff", changed, "--prune").stdout
    assert "1 created, 1 updated, 1 deleted, 0 unchanged" in shown
    lines = {(line[:1], line[1:].strip(" -")) for line in shown.splitlines()}
    assert {("-", "factor: 1.5"), ("+", "factor: 1.7")} <= lines
    assert shell.run("rules", "apply", changed, "--prune").returncode == 0
    out = str(Path(shell.folder) / "out.yaml")
    assert shell.run("rules", "export", "--out", out).returncode == 0
    assert "no change, 2 unchanged" in shell.run("rules", "diff", out, "--prune").stdout
    versions = json.loads(shell.run("rules", "show", "gifts", "--json").stdout)["versions"]
    assert [(each["version"], each["changed_by"]) for each in versions] == [(2, "local"), (1, "local")]
    assert "factor: 1.5" in shell.run("rules", "show", "gifts", "--version", "1").stdout
    assert shell.run("segments", "apply", write(shell, "none.yaml", "segments: {}"), "--prune").returncode == 1
    assert shell.run("rules", "apply", write(shell, "none.yaml", "rules: {}"), "--prune").returncode == 0
    pruned = shell.run("segments", "apply", write(shell, "none.yaml", "segments: {}"), "--prune")
    assert "2 deleted" in pruned.stdout  # gifts after all-gifts, which refers to it


def test_placements_and_pages_have_the_same_commands(shell: Shell) -> None:
    home = write(shell, "home.yaml", "placements: {home: {k: 6}}")
    assert "1 created" in shell.run("placements", "apply", home).stdout
    page = write(shell, "page.yaml", "pages: {front: {shelves: [{name: one, placement: home}]}}")
    assert "1 created" in shell.run("pages", "apply", page).stdout
    assert [each["name"] for each in json.loads(shell.run("pages", "list", "--json").stdout)["pages"]] == ["front"]
    assert "k: 6" in shell.run("placements", "export").stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: {a: {then: {bury: {b: 1}}, wen: {}}}", "rules.a: wen: there is no such parameter"),
        ("rules: {a: {then: {bury: {b: 1}}}, a: {}}", "'a' is there twice"),
        ("rule: {}", "expected the key `rules`"),
        ("rules: {}\nrulez: {}", "expected the key `rules`, and beside it at most placements, pages, segments"),
        ("segments: {}", "expected the key `rules`"),
        ("rules: {a: 3}", "rules.a: expected a name and a document"),
        ("rules: {3: {}}", "expected a name and a document"),
        ("rules: [", "expected YAML"),
        ("rules: {A B: {then: {bury: {b: 1}}}}", "expected a name of 1 to 63 characters"),
        ("rules: {a: {then: {bury: {b: .nan}}}}", "expected JSON values"),
        ("rules: {a: !!python/object:os.system {}}", "expected YAML"),
        ("rules: {a: {when: {from: 2026-02-01, until: 2026-01-01}, then: {bury: {b: 1}}}}", "before it begins"),
    ],
)
def test_a_wrong_file_is_refused_and_stores_nothing(shell: Shell, text: str, message: str) -> None:
    done = shell.run("rules", "apply", write(shell, "wrong.yaml", text))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert json.loads(shell.run("rules", "list", "--json").stdout) == {"rules": []}


def test_a_missing_file_and_an_unknown_name_are_errors(shell: Shell) -> None:
    assert shell.run("rules", "apply", "nowhere.yaml").returncode == 1
    assert "there is no rule 'nowhere'" in shell.run("rules", "show", "nowhere").stderr


def test_a_dry_run_shows_what_a_file_would_change(shell: Shell) -> None:
    with open_database(shell.settings) as database, database.begin() as conn:
        served_shelves.make_partitions(conn, datetime.now(UTC).date())
        space = spaces.ensure(conn, "default")
        items.upsert(conn, space.key, [Item(f"tried-{n}", "Tried", ("tried",), {"price": n}) for n in range(6)])
        at_us, asked = time.time_ns() // 1000, '{"placement": "tried", "exclude": "none"}'
        shelf = ServedShelf(at_us, "r-1", None, None, "tried", asked, ["none"])
        served_shelves.write(conn, space.key, [shelf])
    before = write(shell, "before.yaml", "placements: {tried: {k: 4}}")
    assert shell.run("placements", "apply", before).returncode == 0
    assert "0 tried, 1 unchanged" in shell.run("placements", "dry-run", before).stdout
    after = write(shell, "after.yaml", "placements: {tried: {k: 2}}")
    told = shell.run("placements", "dry-run", after)
    assert "tried: 1 of 1 shelves change (100.0%)" in told.stdout, told.stderr
    found = json.loads(shell.run("placements", "dry-run", after, "--json").stdout)["placements"]["tried"]
    assert [len(found["examples"][0][side]) for side in ("items_before", "items_after")] == [4, 2]
    assert "k: 4" in shell.run("placements", "export").stdout
    rule = write(shell, "tried.yaml", "rules: {tried: {then: {filter: {item_id: none}}}}")
    told = shell.run("rules", "dry-run", rule, "--placement", "tried")
    assert "tried: 1 of 1 shelves change (100.0%)" in told.stdout, told.stderr
    wrong = shell.run("rules", "dry-run", write(shell, "wrong.yaml", "rules: {a: {then: {caps: {b: 0}}}}"))
    assert (wrong.returncode, "rules.a: then.caps.b" in wrong.stderr) == (2, True)


SHOP = """
segments:
  tried-cheap: {of: items, filter: {price: {lt: 3}}}
placements:
  tried-new: {k: 3, rules: [tried-rule]}
  tried-old: {k: 2}
rules:
  tried-rule: {when: {placements: [tried-new, tried-old]}, then: {filter: {segment: tried-cheap}}}
"""


def test_a_file_of_several_kinds_is_tried_and_applied_as_a_whole(shell: Shell) -> None:
    with open_database(shell.settings) as database, database.begin() as conn:
        served_shelves.make_partitions(conn, datetime.now(UTC).date())
        space = spaces.ensure(conn, "default")
        rows = [Item(f"mixed-{n}", "Mixed", ("mixed",), {"price": n, "weight": 6 - n}) for n in range(6)]
        items.upsert(conn, space.key, rows)
        at_us, asked = time.time_ns() // 1000, '{"placement": "tried-old", "exclude": "none"}'
        served_shelves.write(conn, space.key, [ServedShelf(at_us, "r-2", None, None, "tried-old", asked, ["none"])])
    old = write(shell, "old.yaml", "placements: {tried-old: {k: 4, filter: {categories: mixed}}}")
    assert shell.run("placements", "apply", old).returncode == 0
    shop = write(shell, "shop.yaml", SHOP)
    done = shell.run(
        "rules", "dry-run", shop, "--placement", "tried-old", "--band-field", "weight", "--bands", "2", "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    together = found["together"]
    assert (together["n_requests"], together["n_changed"]) == (1, 1)
    assert together["acted"] == {"tried-rule": {"before": 0, "after": 1}}
    assert len(together["examples"][0]["items_after"]) == 2
    assert all("weight" not in each for each in together["prices"])
    assert [each["price"] for each in together["prices"]][-1] is None
    assert len(together["prices"]) == 3
    assert "there is no rule 'tried-rule'" in found["placements"]["tried-new"]["only_together"]
    assert found["placements"]["tried-old"]["n_changed"] == 1
    assert "only_together" in found["rules"]["tried-rule"]
    segment = found["segments"]["tried-cheap"]
    assert (segment["before"], segment["joined"], segment["left"]) == (None, segment["after"], 0)
    told = shell.run("segments", "dry-run", shop)
    assert "all changes together: " in told.stdout, told.stderr
    assert "tried-new: only together with the others: there is no rule" in told.stdout
    assert f"tried-cheap: {segment['after']} of {segment['total']} (new)" in told.stdout
    assert "4 tried, 0 unchanged; nothing was stored" in told.stdout
    assert json.loads(shell.run("segments", "list", "--json").stdout) == {"segments": []}
    unknown = shell.run("rules", "dry-run", shop, "--band-field", "waight")
    assert (unknown.returncode, "no item has a field 'waight'" in unknown.stderr) == (2, True)
    wrong = write(shell, "wrong.yaml", SHOP.replace("lt: 3", "lt: cheap"))
    for command in ("dry-run", "apply"):
        refused = shell.run("rules", command, wrong)
        assert refused.returncode == 2
        assert "segments.tried-cheap: filter.price.lt: price holds numbers" in refused.stderr
    applied = shell.run("placements", "apply", shop)
    assert "rules.tried-rule created" in applied.stdout, applied.stderr
    assert "3 created, 1 updated, 0 unchanged" in applied.stdout
    assert "0 tried, 4 unchanged" in shell.run("segments", "dry-run", shop).stdout
    gone = write(shell, "gone.yaml", "segments: {}\nrules: {}\nplacements: {}\npages: {}")
    told = json.loads(shell.run("rules", "apply", gone, "--prune", "--json").stdout)
    assert told["changes"] == {"tried-rule": "deleted"}
    assert told["others"]["segments"] == {"tried-cheap": "deleted"}
