"""rules: what merchandisers decide for many shelves, with the conditions under which it holds."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request, Response

from api.deps import AppDatabase, AppSettings, View
from api.limits.executors import long_running
from api.merchandising.catalogue_check import check_filter, check_shelf
from api.merchandising.rule_documents import parse_rule
from api.messages.merchandising.preset_schemas import RuleDryRunBody
from api.messages.merchandising.rule_schemas import EXAMPLE, RuleDocument
from api.messages.responses import json_response
from api.routes.merchandising.dry_runs import tried
from api.routes.merchandising.preset_routes import WRITE, Document, PresetKind, preset_router
from engine.errors import Conflict, InputError, Problem
from engine.merchandising.presets import parse_presets
from engine.merchandising.stored_document import StoredDocument
from engine.segments.segments import Segments
from engine.store.shelves.presets import StoredPreset
from indexing.live.view import LiveView


def check(name: str, body: Document, current: Sequence[StoredPreset]) -> None:
    """InputError for a wrong document, and for a placement that does not exist."""
    presets = parse_presets(0, current)
    rule = parse_rule(StoredDocument(name, 0, body), presets.segments, ("body",))
    for placement in sorted((rule.when.placements or frozenset()) - presets.placements.keys()):
        message = f"there is no placement {placement!r}; store it first"
        raise InputError(message, loc=("body", "when", "placements"))


def check_delete(name: str, current: Sequence[StoredPreset]) -> None:
    """Conflict while a placement names the rule."""
    users = [each.name for each in current if each.kind == "placement" and name in _rules_in(each)]
    if users:
        raise Conflict(f"placement {', '.join(users[:5])} names rule {name!r}; change that first")


def _rules_in(placement: StoredPreset) -> list[str]:
    rules = (placement.body or {}).get("rules")
    return rules if isinstance(rules, list) else []


def check_fields(body: Document, segments: Segments, view: LiveView, keep_days: int) -> list[Problem]:
    rule = RuleDocument.model_validate(body)
    seed, place = rule.when.seed, ("body", "when", "seed")
    of_seed = [] if seed is None else check_filter(seed, segments, view, place)
    return of_seed + check_shelf(rule.then, segments, view, keep_days, ("body", "then"))


KIND = PresetKind("rule", "rules", "A rule", EXAMPLE, check, check_delete, check_fields)
router = preset_router(KIND)


@router.post("/{name}/dry-run", dependencies=WRITE, summary="What a changed rule would do to real requests")
@long_running
def post_dry_run(
    name: str, body: RuleDryRunBody, request: Request, view: View, settings: AppSettings, database: AppDatabase
) -> Response:
    """Answers the newest requests twice: with the stored rules and with the changed one. Nothing is stored."""
    return json_response(tried(KIND, name, body, view, settings, database, request, body.placement))
