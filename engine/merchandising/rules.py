"""Rules: what merchandisers decide for many shelves at once: when a rule acts, and what it does to a shelf.

A rule acts on a shelf when all of its conditions hold: the placement, the context, the time, the seed item, and a
segment of the user. The rules that act are applied to the request before the pipeline reads it, the highest priority
first, so the pipeline does not know of them.

Filters, boosts and caps of all rules hold together, beside the ones that the request has. Of two pins to one position,
the request's own, or the rule's with the higher priority, has it; the other has the next free position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from weakref import ref

from engine.catalogue.comparable_values import Scalar
from engine.catalogue.predicate import AllOf, Predicate, matches
from engine.errors import InputError
from engine.recommending.values.answer import Hit, Part
from engine.recommending.values.boosts import NO_BOOSTS, Boosts
from engine.recommending.values.request import Caps, Pin, Request
from engine.templates.filter_templates import Reference, value_of
from engine.templates.situation import Situation

BURY = -1000.0  # added to a score: more than scores differ, and few enough digits that float32 keeps the order
MAX_KEPT = 256  # combinations of rules


@dataclass(frozen=True, eq=False)
class Effect:
    """What a rule does to a shelf. A buried item is boosted by BURY."""

    predicate: Predicate | None = None
    boosts: Boosts = NO_BOOSTS
    pins: Sequence[Pin] = ()
    caps: Caps = ()

    @property
    def predicates(self) -> list[Predicate]:
        own = [self.predicate, *(pin.predicate for pin in self.pins)]
        return [each for each in own if each is not None] + list(self.boosts.predicates)


@dataclass(frozen=True, eq=False)
class When:
    """None: the condition always holds."""

    placements: frozenset[str] | None = None
    segments: frozenset[str] | None = None  # of users, of which one is enough
    context: tuple[tuple[str, frozenset[tuple[bool, Scalar]]], ...] = ()  # by name: the values, of which one is enough
    seed: Callable[[Situation], Predicate] | None = None  # one of the seed items passes it
    from_us: int | None = None
    until_us: int | None = None  # the rule no longer acts at this moment


@dataclass(frozen=True, eq=False)
class Rule:
    """`effect` and `When.seed` raise InputError where the request lacks a value that they take from it."""

    name: str
    version: int
    when: When
    effect: Callable[[Situation], Effect]
    references: Sequence[Reference] = ()  # of the effect
    priority: int = 0
    enabled: bool = True


Acting = tuple[Rule, tuple[object, ...]]  # a rule that acts, with the values of its references


@dataclass(frozen=True, eq=False)
class AppliedRules:
    """The rules that acted on a shelf, with the places of their boosts and pins in the request."""

    names: tuple[str, ...] = ()  # the highest priority first
    n_boosts: int = 0  # boosts of the request itself; the boosts of rules follow
    of_boosts: tuple[str, ...] = ()
    of_pins: Mapping[tuple[str | None, int], str] = field(default_factory=dict)  # (item id, position)

    def of_slot(self, hit: Hit, position: int, parts: Sequence[Part]) -> list[str]:
        """The rules whose boosts changed the score of an item, or whose pin put it at its position."""
        found = {name for part in parts if (name := self.of_part(part)) is not None}
        if hit.reason == "pinned":
            found |= {self.of_pins[key] for key in ((hit.item_id, position), (None, position)) if key in self.of_pins}
        return [name for name in self.names if name in found]

    def of_part(self, part: Part) -> str | None:
        """The rule whose boost a part of a score is; None for a boost of the request."""
        if not self.of_boosts or part.name != "boost" or part.at is None or part.at < self.n_boosts:
            return None
        return self.of_boosts[part.at - self.n_boosts]


NO_RULES = AppliedRules()
Accepts = Callable[[Effect], bool]  # whether the catalogue has values that the filters of an effect can compare with
Members = Callable[[], frozenset[str]]  # the segments of the user, read at the first rule that asks for them


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules of a space that are on, the highest priority first."""

    rules: tuple[Rule, ...] = ()
    _combined: dict[object, tuple[ref[object], Effect, AppliedRules]] = field(default_factory=dict)
    _of_placement: dict[object, tuple[Rule, ...]] = field(default_factory=dict)

    @cached_property
    def segments(self) -> frozenset[str]:
        """The segments of users that rules ask for."""
        return frozenset(name for rule in self.rules for name in rule.when.segments or ())

    def acting(
        self, situation: Situation, placement: str | None, allowed: frozenset[str] | None, members: Members
    ) -> list[Acting]:
        """The rules that act, each with the values of its references. `allowed`: the rules of the placement."""
        found, own = [], None
        for rule in self._candidates(placement, allowed, situation.context):
            when = rule.when
            if not is_time(when, situation.now_us):
                continue
            values: tuple[object, ...] = ()
            if rule.references or when.seed is not None:
                try:
                    values = tuple(value_of(each, situation) for each in rule.references)
                    if when.seed is not None and not _is_seed(when.seed(situation), situation):
                        continue
                except InputError:  # the request lacks a value
                    continue
            if when.segments is not None:
                own = members() if own is None else own
                if own.isdisjoint(when.segments):
                    continue
            found.append((rule, values))
        return found

    @cached_property
    def _context_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for rule in self.rules for name, _ in rule.when.context))

    def _candidates(
        self, placement: str | None, allowed: frozenset[str] | None, context: Mapping[str, Scalar]
    ) -> tuple[Rule, ...]:
        """The rules of the placement whose context is that of the request; kept, because most requests share it."""
        values = tuple((isinstance(value := context.get(name), bool), value) for name in self._context_names)
        key = placement, allowed, values
        found = self._of_placement.get(key)
        if found is None:
            found = tuple(
                rule
                for rule in self.rules
                if (rule.when.placements is None or placement in rule.when.placements)
                and (allowed is None or rule.name in allowed)
                and _is_context(rule.when, context)
            )
            if len(self._of_placement) >= MAX_KEPT:
                self._of_placement.clear()
            self._of_placement[key] = found
        return found

    def apply(
        self, request: Request, acting: Sequence[Acting], situation: Situation, accepts: Accepts, catalogue: object
    ) -> tuple[Request, AppliedRules]:
        """The request as the acting rules change it. The combined effect of the same rules is computed once for each
        `catalogue`, the object that `accepts` asks; a rule that it does not accept does not act."""
        if not acting:
            return request, NO_RULES
        key = (id(catalogue), request.boosts, request.predicate, *acting)
        found = self._combined.get(key)
        if found is None or found[0]() is not catalogue:
            found = ref(catalogue), *_combined(request, _effects(acting, situation, accepts))
            if len(self._combined) >= MAX_KEPT:
                self._combined.clear()
            self._combined[key] = found
        _, effect, applied = found
        request = replace(request, predicate=effect.predicate, boosts=effect.boosts)
        if effect.caps:
            request = replace(request, caps=_lowest((*request.caps, *effect.caps)))
        if effect.pins:
            pins, of_pins = _placed(request.pins, effect.pins)
            request, applied = replace(request, pins=pins), replace(applied, of_pins=of_pins)
        return request, applied


NONE = Rules()


def by_priority(rules: Iterable[Rule]) -> Rules:
    return Rules(tuple(sorted((rule for rule in rules if rule.enabled), key=lambda each: (-each.priority, each.name))))


def placements_of(rule: object) -> frozenset[str]:
    """The placements that the document of a rule names."""
    when = rule.get("when") if isinstance(rule, Mapping) else None
    names = when.get("placements") if isinstance(when, Mapping) else None
    return frozenset(map(str, names or ()))


def is_time(when: When, now_us: int) -> bool:
    return (when.from_us is None or now_us >= when.from_us) and (when.until_us is None or now_us < when.until_us)


def _is_context(when: When, context: Mapping[str, Scalar]) -> bool:
    for name, values in when.context:
        value = context.get(name)
        if value is None or (isinstance(value, bool), value) not in values:
            return False
    return True


def _is_seed(predicate: Predicate, situation: Situation) -> bool:
    return any(matches(predicate, fields) for fields in situation.seeds)


def _effects(acting: Sequence[Acting], situation: Situation, accepts: Accepts) -> list[tuple[Rule, Effect]]:
    found = []
    for rule, _ in acting:
        try:
            effect = rule.effect(situation)
        except InputError:  # a value of the request has a type that a filter of the rule cannot compare with
            continue
        if accepts(effect):
            found.append((rule, effect))
    return found


def _combined(request: Request, effects: Sequence[tuple[Rule, Effect]]) -> tuple[Effect, AppliedRules]:
    predicates = [request.predicate, *(effect.predicate for _, effect in effects)]
    unlike = tuple(dict.fromkeys(each for each in predicates if each is not None))
    predicate = None if not unlike else unlike[0] if len(unlike) == 1 else AllOf(unlike)
    boosts = Boosts((*request.boosts, *(boost for _, effect in effects for boost in effect.boosts)))
    pins = [replace(pin, rule=rule.name) for rule, effect in effects for pin in effect.pins]
    caps = _lowest([cap for _, effect in effects for cap in effect.caps])
    names = tuple(rule.name for rule, _ in effects)
    of_boosts = tuple(rule.name for rule, effect in effects for _ in effect.boosts)
    return Effect(predicate, boosts, pins, caps), AppliedRules(names, len(request.boosts), of_boosts)


def _lowest(caps: Iterable[tuple[str, int]]) -> Caps:
    found: dict[str, int] = {}
    for name, n in caps:
        found[name] = min(n, found.get(name, n))
    return tuple(found.items())


def _placed(own: Sequence[Pin], of_rules: Sequence[Pin]) -> tuple[list[Pin], dict[tuple[str | None, int], str]]:
    """The pins of the request, then the pins of rules; an item that is pinned already is left out."""
    pins, of_pins = list(own), dict[tuple[str | None, int], str]()
    taken = {pin.position for pin in own}
    items = {pin.item_id for pin in own}
    for pin in of_rules:
        if pin.item_id is not None and pin.item_id in items:
            continue
        position = pin.position
        while position in taken:
            position += 1
        taken.add(position)
        items.add(pin.item_id)
        pins.append(replace(pin, position=position))
        of_pins[pin.item_id, position] = pin.rule or ""
    return pins, of_pins
