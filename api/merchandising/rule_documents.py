"""Rule documents, parsed once for each version of the presets. A document that cannot be parsed does not act."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from api.merchandising.placed import wrong_document
from api.messages.merchandising.rule_schemas import RuleDocument, ThenBody, WhenBody
from api.request_parsing import Loc, parse_boost, parse_caps, parse_filter
from api.shaping_parsing import parse_stored_pins
from engine.catalogue.predicate import Predicate
from engine.errors import InputError, short_repr
from engine.merchandising.presets import Presets
from engine.merchandising.references import References
from engine.merchandising.rules import BURY, NONE, Effect, Rule, Rules, When, by_priority
from engine.merchandising.stored_document import StoredDocument
from engine.recommending.values.boosts import Boosts, FilterBoost
from engine.segments.segments import Segments
from engine.templates.filter_templates import Reference, references
from engine.templates.situation import PROBE, Situation

_parsed: WeakKeyDictionary[Presets, tuple[Rules, dict[str, str]]] = WeakKeyDictionary()


def rules_of(presets: Presets) -> Rules:
    return _of(presets)[0] if presets.rules else NONE


def broken_rules(presets: Presets) -> dict[str, str]:
    """By name: why a rule cannot be used."""
    return _of(presets)[1] if presets.rules else {}


def _of(presets: Presets) -> tuple[Rules, dict[str, str]]:
    found = _parsed.get(presets)
    if found is None:
        made, broken = [], dict[str, str]()
        for name, stored in presets.rules.items():
            try:
                made.append(parse_rule(stored, presets.segments, ("rules", name)))
            except InputError as error:
                broken[name] = str(error)
        found = _parsed[presets] = by_priority(made), broken
    return found


def parse_rule(stored: StoredDocument, segments: Segments, loc: Loc = ()) -> Rule:
    """InputError names the part of the document that is wrong."""
    try:
        valid = RuleDocument.model_validate(stored.body)
    except ValidationError as error:
        raise wrong_document(error, loc) from None
    when, then = valid.when, valid.then
    parse = partial(_effect, then, segments, (*loc, "then"))
    plain = parse(PROBE)  # names a wrong part
    found = _references(then, segments)
    seed = None if when.seed is None else partial(_filter, when.seed, segments, (*loc, "when", "seed"))
    if seed is not None:
        seed(PROBE)
    if any(each.kind == "seed" for each in _references_in(when.seed, segments)):
        raise InputError("tests the seed item itself; expected a condition without `seed`", loc=(*loc, "when", "seed"))
    effect: Callable[[Situation], Effect] = parse if found else lambda situation: plain
    return Rule(
        stored.name,
        stored.version,
        _when(when, segments, (*loc, "when"), seed),
        effect,
        found,
        valid.priority,
        valid.enabled,
    )


def _when(when: WhenBody, segments: Segments, loc: Loc, seed: Callable[[Situation], Predicate] | None) -> When:
    for at, name in enumerate(when.segments or ()):
        segments.user_filter(name, (*loc, "segments", at))
    try:
        zone = _zone(when.time_zone)
    except (KeyError, ValueError, OSError):  # an unknown name, one that is no path, one that is a folder
        expected = "expected a time zone such as Europe/Berlin"
        raise InputError(f"{expected}, got {short_repr(when.time_zone)}", loc=(*loc, "time_zone")) from None
    from_us, until_us = (
        _time(text, zone, (*loc, name)) for name, text in (("from", when.from_), ("until", when.until))
    )
    if from_us is not None and until_us is not None and until_us <= from_us:
        raise InputError(f"the rule ends before it begins: from {when.from_} until {when.until}", loc=(*loc, "until"))
    context = tuple(
        (name, frozenset((isinstance(each, bool), each) for each in values)) for name, values in when.context.items()
    )
    placements, members = (None if names is None else frozenset(names) for names in (when.placements, when.segments))
    return When(placements, members, context, seed, from_us, until_us)


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _time(text: str | None, zone: ZoneInfo, loc: Loc) -> int | None:
    """Microseconds since 1970 UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp() * 1e6)
    except (ValueError, OverflowError):
        expected = "expected a date or a time such as 2026-11-27 or 2026-11-27T09:00"
        raise InputError(f"{expected}, got {short_repr(text)}", loc=loc) from None


def _filter(filter_: object, segments: Segments, loc: Loc, situation: Situation) -> Predicate:
    assert isinstance(filter_, dict)
    parsed = parse_filter(filter_, loc, References(segments, situation))
    assert parsed is not None
    return parsed


def _effect(then: ThenBody, segments: Segments, loc: Loc, situation: Situation) -> Effect:
    available = References(segments, situation)
    boosts = Boosts(parse_boost(boost, (*loc, "boost", at), available) for at, boost in enumerate(then.boost))
    bury = parse_filter(then.bury, (*loc, "bury"), available)
    if bury is not None:
        boosts = Boosts((*boosts, FilterBoost(bury, add=BURY)))
    pins = parse_stored_pins(then.pins, loc, available)
    return Effect(
        parse_filter(then.filter, (*loc, "filter"), available), boosts, pins, parse_caps(then.caps, (*loc, "caps"))
    )


def _references(then: ThenBody, segments: Segments) -> list[Reference]:
    filters = [then.filter, then.bury, *(boost.filter for boost in then.boost), *(pin.filter for pin in then.pins)]
    found = [each for filter_ in filters for each in _references_in(filter_, segments)]
    names = [name for boost in then.boost for name in (boost.field, boost.age_of) if name is not None]
    found += [each for name in names for each in references({name: {}})]
    return list(dict.fromkeys(found))


def _references_in(filter_: object, segments: Segments) -> list[Reference]:
    return [] if filter_ is None else list(references(segments.expand(filter_, ())))
