"""Rules over HTTP: they act when their conditions hold, and the answer names them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.store.database.connections import Database
from engine.store.shelves import presets
from tests.api.conftest import Shop


@pytest.fixture(autouse=True)
def empty(shop: Shop) -> Iterator[None]:
    shop.put("/placements/home", {"k": 6})
    shop.put("/placements/quiet", {"rules": []})
    yield
    for each in shop.get("/rules").json()["rules"]:
        assert shop.delete(f"/rules/{each['name']}").status_code == 200


def put(shop: Shop, name: str, then: dict, when: dict | None = None, **more: object) -> int:
    answer = shop.put(f"/rules/{name}", {"when": when or {}, "then": then} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()["seq"]


def shelf(shop: Shop, seq: int, **asked: object) -> dict:
    answer = shop.post("/recommend", {"user_id": "odd-user-3", "exclude": "none", "min_seq": seq} | asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: dict) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_a_rule_filters_boosts_buries_pins_and_caps(shop: Shop) -> None:
    before = ids(shelf(shop, 0))
    own = shelf(shop, 0, boost=[{"filter": {"item_id": before[0]}, "factor": 2}], explain=1)["items"][0]
    assert [(part["at"], part["rule"]) for part in own["parts"]] == [(None, None), (0, None)]
    assert own["rules"] == []
    seq = put(shop, "cheap", {"filter": {"price": {"lt": 5}}})
    answer = shelf(shop, seq)
    assert all(item["fields"]["price"] < 5 for item in answer["items"])
    assert answer["rules"] == ["cheap"]
    seq = shop.put("/rules/cheap", {"enabled": False, "then": {"filter": {"price": {"lt": 5}}}}).json()["seq"]
    assert ids(shelf(shop, seq)) == before
    put(shop, "boost", {"boost": [{"filter": {"item_id": "odd-07"}, "add": 500}]}, priority=1)
    put(shop, "bury", {"bury": {"item_id": before[0]}}, priority=2)
    put(shop, "caps", {"caps": {"categories": 3}})
    seq = put(shop, "pin", {"pins": [{"position": 2, "item_id": "even-05"}]}, priority=3)
    answer = shelf(shop, seq, explain=2, k=6)
    assert ids(answer)[:2] == ["odd-07", "even-05"]
    assert before[0] not in ids(answer)
    assert [id_.split("-")[0] for id_ in ids(answer)] == ["odd", "even", "odd", "odd", "even", "even"]
    assert answer["rules"] == ["pin", "bury", "boost", "caps"]
    assert [item["rules"] for item in answer["items"]] == [["boost"], ["pin"], [], [], [], []]
    first = answer["items"][0]
    assert [(part["name"], part["at"], part["rule"]) for part in first["parts"]] == [
        ("base", None, None),
        ("boost", None, "boost"),
    ]
    assert sum(part["adds"] for part in first["parts"]) == pytest.approx(first["score"])
    every = shelf(shop, seq, explain=1, k=40, caps={})
    assert len(every["items"]) == 6  # the cap of the rule
    shop.delete("/rules/caps")
    seq = shop.delete("/rules/pin").json()["seq"]
    every = shelf(shop, seq, explain=1, k=40)
    assert (ids(every)[-1], every["items"][-1]["rules"]) == (before[0], ["bury"])


def test_a_rule_acts_where_all_of_its_conditions_hold(shop: Shop) -> None:
    shop.put("/users/rita", {"attributes": {"tier": "gold"}})
    shop.put("/segments/gold", {"of": "users", "filter": {"attributes.tier": "gold"}})
    now = datetime.now(UTC)
    yesterday, tomorrow = (f"{now + timedelta(days=days):%Y-%m-%d}" for days in (-2, 2))
    when = {
        "placements": ["home"],
        "segments": ["gold"],
        "context": {"country": ["DE", "AT"], "new": True},
        "seed": {"categories": {"contains": "odd"}},
        "from": yesterday,
        "until": tomorrow,
        "time_zone": "Europe/Berlin",
    }
    seq = put(shop, "all", {"boost": [{"filter": {"categories": {"eq": "seed"}}, "factor": 2}]}, when)
    context = {"country": "AT", "new": True, "x": 1}
    asked = {"placement": "home", "user_id": "rita", "context": context, "item_ids": ["odd-03"]}
    assert shelf(shop, seq, **asked)["rules"] == ["all"]
    others = (
        {"placement": None},
        {"placement": "quiet"},
        {"user_id": "ben"},
        {"user_id": None},
        {"item_ids": ["even-03"]},
        {"item_ids": []},
        {"item_ids": ["nothing"]},
        *({"context": each} for each in ({}, {"country": "DE"}, context | {"new": 1}, context | {"country": "FR"})),
    )
    for other in others:
        assert shelf(shop, seq, **asked | other)["rules"] == [], other
    shelves = [{**asked, "placement": "home"}, {**asked, "user_id": "ben"}]
    answers = shop.post("/recommend/batch", {"shelves": shelves, "min_seq": seq}).json()["shelves"]
    assert [answer["rules"] for answer in answers] == [["all"], []]
    shop.put("/pages/front", {"shelves": [{"name": "one", "placement": "home"}, {"name": "two"}]})
    page = shop.post(
        "/page", {"page": "front", **{key: asked[key] for key in ("user_id", "context", "item_ids")}}
    ).json()
    assert [each["rules"] for each in page["shelves"]] == [["all"], []]
    for dates in ({"from": tomorrow}, {"until": yesterday}):
        seq = put(shop, "all", {"filter": {"price": 3}}, dates)
        assert shelf(shop, seq)["rules"] == []
    shop.delete("/rules/all")
    assert shop.delete("/segments/gold").status_code == 200


HOURS = (-48, -1, 1, 48)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "placements": st.sampled_from([["home"], ["home", "other"]]),
        "segments": st.just(["silver"]),
        "context": st.sampled_from([{"country": ["DE", "AT"]}, {"country": "DE", "new": True}]),
        "seed": st.sampled_from([{"categories": {"contains": side}} for side in ("odd", "even")]),
        "hours": st.tuples(st.sampled_from(HOURS), st.sampled_from(HOURS)).filter(lambda each: each[0] < each[1]),
    },
)
situations = st.fixed_dictionaries(
    {},
    optional={
        "placement": st.sampled_from(["home", "other", "quiet"]),
        "user_id": st.sampled_from(["silvia", "ben"]),
        "context": st.sampled_from([{"country": "DE", "new": True}, {"country": "AT"}, {"country": "FR", "new": True}]),
        "item_ids": st.sampled_from([["odd-03"], ["even-03"], ["odd-03", "even-03"], ["nothing"]]),
    },
)


def holds(when: dict, asked: dict) -> bool:
    """The definition, for a rule of `conditions` and a request of `situations`."""
    context = asked.get("context", {})
    from_, until = when.get("hours", (-1, 1))
    return (
        asked.get("placement") != "quiet"  # which lets no rule act
        and ("placements" not in when or asked.get("placement") in when["placements"])
        and ("segments" not in when or asked.get("user_id") == "silvia")
        and all(
            name in context and context[name] in (values if isinstance(values, list) else [values])
            for name, values in when.get("context", {}).items()
        )
        and (
            "seed" not in when
            or any(id_.startswith(when["seed"]["categories"]["contains"]) for id_ in asked.get("item_ids", ()))
        )
        and from_ < 0 < until
    )


@pytest.fixture
def silver(shop: Shop) -> None:
    """A segment of one user, and a placement without rules of its own."""
    shop.put("/users/silvia", {"attributes": {"tier": "silver"}})
    shop.put("/segments/silver", {"of": "users", "filter": {"attributes.tier": "silver"}})
    shop.put("/placements/other", {"k": 6})


@given(whens=st.lists(conditions, min_size=3, max_size=3), shelves=st.lists(situations, min_size=8, max_size=8))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rules_act_only_where_and_while_their_conditions_hold(
    shop: Shop, silver: None, whens: list[dict], shelves: list[dict]
) -> None:
    """Rule n pins item n to position n. Shelves of one batch have other rules than the one beside them."""
    now, seq = datetime.now(UTC), 0
    for n, when in enumerate(whens, 1):
        dates = [f"{now + timedelta(hours=hours):%Y-%m-%dT%H:%MZ}" for hours in when.get("hours", ())]
        document = {name: value for name, value in when.items() if name != "hours"}
        document |= dict(zip(("from", "until"), dates, strict=False))
        seq = put(shop, f"rule-{n}", {"pins": [{"position": n, "item_id": f"odd-{n:02}"}]}, document, priority=-n)
    asked = [{"exclude": "none", "k": 6} | each for each in shelves]
    body = {"shelves": asked, "min_seq": seq, "deadline_ms": 10_000}
    answers = [*shop.post("/recommend/batch", body).json()["shelves"]]
    answers.append(shop.post("/recommend", asked[0] | {"min_seq": seq, "deadline_ms": 10_000}).json())
    for each, answer in zip([*shelves, shelves[0]], answers, strict=True):
        acting = [n for n, when in enumerate(whens, 1) if holds(when, each)]
        assert answer["rules"] == [f"rule-{n}" for n in acting]
        pinned = [(at, item["item_id"]) for at, item in enumerate(answer["items"], 1) if item["reason"] == "pinned"]
        assert pinned == [(n, f"odd-{n:02}") for n in acting]


def test_a_pin_of_a_rule_gives_way_to_the_request_and_to_a_higher_priority(shop: Shop) -> None:
    put(shop, "low", {"pins": [{"position": 1, "item_id": "even-01"}, {"position": 3, "item_id": "even-03"}]})
    seq = put(shop, "high", {"pins": [{"position": 1, "item_id": "even-02"}]}, priority=5)
    answer = shelf(shop, seq, k=4, explain=1)
    assert ids(answer)[:3] == ["even-02", "even-01", "even-03"]
    assert [item["rules"] for item in answer["items"]] == [["high"], ["low"], ["low"], []]
    own = shelf(shop, seq, k=4, pins=[{"position": 1, "item_id": "even-03"}])
    assert ids(own)[:3] == ["even-03", "even-02", "even-01"]
    gone = shelf(shop, seq, k=4, filter={"categories": {"contains": "odd"}})
    assert {tuple(each["loc"]) for each in gone["warnings"]} == {("rules", "high"), ("rules", "low")}


def test_a_rule_about_fields_that_no_item_has_never_stops_serving(shop: Shop, database: Database) -> None:
    put(shop, "gone", {"bury": {"no_such_field": 3}})
    put(shop, "curve", {"boost": [{"field": "no_such_number", "curve": [[0, 1], [1, 2]]}]})
    with database.begin() as conn:
        wrong = {"then": {"filter": {"price": {"contains": "text"}}}}  # as if all prices had been text once
        presets.put(conn, shop.space.key, "rule", "type", wrong, "local")
        presets.put(conn, shop.space.key, "placement", "wrong-type", {"filter": {"price": {"lt": "cheap"}}}, "local")
        presets.put(conn, shop.space.key, "rule", "spoilt", {"then": {"kk": 3}}, "local")
    seq = put(shop, "fine", {"filter": {"price": {"lt": "context.most"}}})
    answer = shelf(shop, seq)
    assert answer["rules"] == ["gone"]
    assert [each["loc"] for each in answer["warnings"]] == [["rules", "gone", "then", "bury", "no_such_field"]]
    assert shelf(shop, seq, context={"most": 3})["rules"] == ["fine", "gone"]
    assert shelf(shop, seq, context={"most": "three"})["rules"] == ["gone"]
    curve = [{"field": "lost", "curve": [[0, 1], [1, 2]]}, {"filter": {"item_id": "odd-11"}, "add": 100}]
    here = {"stock_{context.store}": {"gt": 0}}
    seq = shop.put(
        "/placements/lost", {"boost": curve, "caps": {"lost_too": 1}, "filter": {"or": [{"price": 11}, here]}}
    )
    answer = shelf(shop, seq.json()["seq"], placement="lost", context={"store": 1}, explain=1)
    assert ids(answer) == ["odd-11", "even-11"]
    assert [part["at"] for part in answer["items"][0]["parts"]] == [None, 1]
    chosen = {"group_by": {"field": "categories", "choose": {"field": "lost"}}, "objective": "margin"}
    seq = shop.put("/placements/chosen", chosen).json()["seq"]
    answer = shelf(shop, seq, placement="chosen", context={"store": 1}, user_id="odd-user-3", k=2)
    by_score = {"field": "categories", "choose": "score"}
    assert answer["items"] == shelf(shop, seq, group_by=by_score, user_id="odd-user-3", k=2)["items"]
    problems = shop.get("/status").json()["preset_problems"]
    assert {each["name"]: each["problem"] for each in problems if each["kind"] == "rule"} == {
        "curve": "no item has a field 'no_such_number'",
        "gone": "no item has a field 'no_such_field'",
        "spoilt": "rules.spoilt.then.kk: there is no such parameter",
        "type": "it compares a field with a type that no item has",
    }
    assert {each["name"]: each["problem"] for each in problems if each["kind"] == "placement"} == {
        "chosen": "no item has a field 'lost', 'margin'",
        "lost": "no item has a field 'lost', 'lost_too'",
        "wrong-type": "its filter compares a field with a type that no item has, so its shelves are refused",
    }
    gauge = f'nearfield_preset_problems{{space="{shop.space.name}"}} {len(problems)}.0'
    scraped = []
    until = time.monotonic() + 60
    while gauge not in scraped and time.monotonic() < until:  # a poll that began before the last write may end now
        scraped = metrics(shop)
    assert gauge in scraped
    assert [gauge in metrics(shop) for _ in range(10)] == [True] * 10, "a scrape and a poll set the same"


def metrics(shop: Shop) -> list[str]:
    return httpx.get(shop.url.split("/v1/")[0] + "/metrics", timeout=30).text.splitlines()


@pytest.mark.parametrize(
    ("document", "loc", "message"),
    [
        ({"when": {}}, ["then"], "required"),
        ({"then": {}}, ["then"], "at least one of filter, boost, bury, pins, caps"),
        ({"then": {"filter": {"price": {"below": 3}}}}, ["then", "filter", "price", "below"], "expected an operator"),
        ({"then": {"boost": [{"filter": {"a": 1}, "factor": -1}]}}, ["then", "boost", 0, "factor"], "greater than 0"),
        ({"then": {"pins": [{"position": 1}]}}, ["then", "pins", 0], "exactly one"),
        ({"then": {"caps": {"brand": 0}}}, ["then", "caps", "brand"], "greater than or equal"),
        ({"then": {"bury": {"segment": "none"}}}, ["then", "bury", "segment"], "there is no segment"),
        ({"then": {"bury": {"a": 1}}, "wen": {}}, ["wen"], "no such parameter"),
        ({"then": {"bury": {"a": 1}}, "when": {"segments": ["none"]}}, ["when", "segments", 0], "no segment of users"),
        ({"then": {"bury": {"a": 1}}, "when": {"placements": ["hom"]}}, ["when", "placements"], "no placement 'hom'"),
        ({"then": {"bury": {"a": 1}}, "when": {"from": "2026-02-30"}}, ["when", "from"], "expected a date"),
        ({"then": {"bury": {"a": 1}}, "when": {"time_zone": "Berlin"}}, ["when", "time_zone"], "Europe/Berlin"),
        ({"then": {"bury": {"a": 1}}, "when": {"seed": {"a": {"eq": "seed"}}}}, ["when", "seed"], "seed item itself"),
        ({"then": {"bury": {"a": 1}}, "when": {"context": {"a": {"b": 1}}}}, ["when", "context", "a", 0], "text of"),
        ({"then": {"bury": {"a": 1}}, "when": {"context": {"a": ["b", None]}}}, ["when", "context", "a", 1], "text of"),
        ({"then": {"bury": {"a": 1}}, "priority": "high"}, ["priority"], "integer"),
        (
            {"then": {"bury": {"a": 1}}, "when": {"from": "2026-03-29T03:00", "until": "2026-03-29T00:59Z",
             "time_zone": "Europe/Berlin"}},
            ["when", "until"],
            "ends before it begins",
        ),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_refused_and_names_the_field(shop: Shop, document: dict, loc: list, message: str) -> None:
    answer = shop.put("/rules/wrong", document)
    assert answer.status_code == 422, answer.text
    problem = answer.json()["errors"][0]
    assert problem["loc"][1 : 1 + len(loc)] == loc
    assert message in problem["msg"]
    assert shop.get("/rules/wrong").status_code == 404


def test_a_rule_and_a_placement_that_name_each_other_are_not_deleted_alone(shop: Shop) -> None:
    put(shop, "here", {"bury": {"price": 1}}, {"placements": ["home"]})
    assert shop.delete("/placements/home").status_code == 409
    shop.put("/placements/home", {"rules": ["here"]})
    assert shop.delete("/rules/here").status_code == 409
    shop.put("/placements/home", {"k": 6})
