"""Which rules act, and what they make of a request, against a plain definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.catalogue.predicate import AllOf, parse
from engine.merchandising.rules import BURY, NO_RULES, Effect, Rule, Rules, When, by_priority
from engine.recommending.values.answer import Hit, Part
from engine.recommending.values.boosts import Boosts, FilterBoost
from engine.recommending.values.request import Pin, Request
from engine.templates.situation import Situation

CHEAP, RED = parse({"price": {"lt": 3}}), parse({"colour": "red"})
TIMES = st.none() | st.integers(0, 20)


def rule(name: str, when: When = When(), effect: Effect = Effect(CHEAP), **more: int) -> Rule:  # noqa: B008
    return Rule(name, 1, when, lambda situation: effect, **more)


def nobody() -> frozenset[str]:
    raise AssertionError("no rule asks for segments")


def applied(rules: Rules, request: Request, situation: Situation = Situation()) -> tuple:  # noqa: B008
    acting = rules.acting(situation, None, None, nobody)
    return rules.apply(request, acting, situation, lambda effect: True, RED)


@given(
    st.lists(st.tuples(TIMES, TIMES, st.none() | st.sets(st.sampled_from("ab")), st.none() | st.sampled_from("xy"))),
    st.integers(0, 20),
    st.none() | st.sampled_from("abc"),
    st.sampled_from([{}, {"c": "x"}, {"c": "z"}]),
    st.none() | st.sets(st.integers(0, 5)),
)
def test_rules_act_only_in_their_window_placement_and_context(
    conditions: list, now: int, placement: str | None, context: dict, allowed: set[int] | None
) -> None:
    rules, expected = [], set()
    for at, (start, end, placements, value) in enumerate(conditions):
        wanted = () if value is None else (("c", frozenset([(False, value)])),)
        places = None if placements is None else frozenset(placements)
        rules.append(rule(str(at), When(places, None, wanted, None, start, end)))
        if (
            (start is None or start <= now)
            and (end is None or now < end)
            and (placements is None or placement in placements)
            and (value is None or context.get("c") == value)
            and (allowed is None or at in allowed)
        ):
            expected.add(str(at))
    names = None if allowed is None else frozenset(map(str, allowed))
    for _ in range(2):  # the second time from what is kept
        acting = by_priority(rules).acting(Situation(context, now), placement, names, nobody)
        assert {each.name for each, _ in acting} == expected


def test_effects_of_all_rules_hold_together_the_highest_priority_first() -> None:
    boost = Boosts([FilterBoost(RED, 2.0)])
    rules = by_priority(
        [
            rule("low", effect=Effect(RED, caps=(("brand", 2),), pins=[Pin(1, "a")])),
            rule("high", effect=Effect(CHEAP, boost, [Pin(1, "b"), Pin(2, "mine")], (("brand", 3),)), priority=9),
            rule("off", enabled=False),
        ]
    )
    request = Request(predicate=CHEAP, boosts=boost, caps=(("brand", 5),), pins=[Pin(2, "mine")])
    made, by = applied(rules, request)
    assert made.predicate == AllOf((CHEAP, RED))
    assert made.boosts == Boosts([*boost, *boost])
    assert made.caps == (("brand", 2),)
    assert [(pin.position, pin.item_id, pin.rule) for pin in made.pins] == [
        (2, "mine", None),
        (1, "b", "high"),
        (3, "a", "low"),
    ]
    assert by.names == ("high", "low")
    parts = [Part("boost", 0.1, 0), Part("boost", 0.2, 1)]
    assert [by.of_part(part) for part in parts] == [None, "high"]
    assert by.of_slot(Hit("a", 0, 1.0, "pinned", "popular"), 3, parts[:1]) == ["low"]
    assert by.of_slot(Hit("mine", 0, 1.0, "pinned", "popular"), 2, parts) == ["high"]


def test_the_same_rules_make_the_same_objects_and_no_rule_changes_nothing() -> None:
    rules = by_priority([rule("bury", effect=Effect(boosts=Boosts([FilterBoost(RED, add=BURY)])))])
    first, second = (applied(rules, Request())[0] for _ in range(2))
    assert first.boosts is second.boosts  # so that compiled boosts are found by identity
    request = Request()
    assert applied(Rules(), request) == (request, NO_RULES)
    assert NO_RULES.of_part(Part("boost", 0.1, 0)) is None  # a boost of the request


def test_a_rule_that_the_catalogue_does_not_accept_does_not_act() -> None:
    rules = by_priority([rule("odd", effect=Effect(RED)), rule("fine")])
    situation, request = Situation(), Request()
    acting = rules.acting(situation, None, None, nobody)
    made, by = rules.apply(request, acting, situation, lambda effect: effect.predicate is not RED, CHEAP)
    assert (made.predicate, by.names) == (CHEAP, ("fine",))
    made, by = rules.apply(request, acting, situation, lambda effect: True, RED)  # another catalogue
    assert by.names == ("fine", "odd")
