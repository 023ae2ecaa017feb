"""nearfield placements|rules dry-run: what the changes of a YAML file would do to real requests, each by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.merchandising.yaml_documents import read
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out, table
from engine.errors import Conflict, InputError, NotFound
from engine.store.shelves import presets
from engine.store.shelves.presets import Kind

MAX_ROWS = 10
File = Annotated[Path, typer.Argument(help="A YAML file, as `export` writes it.", show_default=False)]
N = Annotated[int, typer.Option("--n", min=1, max=1000, help="The newest stored requests that are answered again.")]
OfPlacement = Annotated[
    str | None, typer.Option("--placement", help="Only requests of this placement.", show_default=False)
]


def run(kind: Kind, plural: str, file: Path, space: str, n: int, placement: str | None, json: bool) -> None:
    from api.messages.merchandising.preset_schemas import ShelfDryRunBody  # a second to load, as `_kind_of`
    from api.routes.merchandising import placements, rules
    from api.routes.merchandising.dry_runs import tried
    from indexing.refresh.live_space import LiveSpace

    wanted = read(file, plural)
    results: dict[str, dict[str, Any]] = {}
    of_kind = placements.KIND if kind == "placement" else rules.KIND
    with opened(space) as (settings, database, found):
        with database.connect() as conn:
            stored = {each.name: each.body for each in presets.list_current(conn, found.key, kind)}
        view = LiveSpace(database, settings.generations, found.name).current()
        changed = {name: body for name, body in wanted.items() if stored.get(name) != body}
        for name, body in changed.items():
            try:
                asked = ShelfDryRunBody(document=body, n=n)
                results[name] = tried(of_kind, name, asked, view, settings, database, placement=placement)
            except (InputError, NotFound, Conflict) as error:
                raise InputError(f"{plural}.{name}: {error}") from None
    unchanged = sorted(wanted.keys() - changed.keys())

    def tell() -> None:
        for name, result in results.items():
            _tell(name, result)
        out.print(f"{len(results)} tried, {len(unchanged)} unchanged; nothing was stored")

    emit(json, {plural: results, "unchanged": unchanged}, tell)


def _tell(name: str, result: Mapping[str, Any]) -> None:
    rows: list[tuple[str, object, object]] = [("requests", result["n_requests"], result["n_requests"])]
    rows += [(side, *_both(result[side])) for side in ("empty", "short", "refused")]
    if result["acted"] is not None:
        rows.append(("rule acts", *_both(result["acted"])))
    share = f"{result['n_changed']} of {result['n_requests']} shelves change ({result['share_changed']:.1%})"
    out.print(f"{name}: {share}", markup=False)
    if result["shortfall"] is not None:
        out.print(f"  {result['shortfall']['reason']}", markup=False)
    for reason in result["refused"]["reasons"]:
        out.print(f"  refused: {reason}", markup=False, soft_wrap=True)
    table(("shelves", "before", "after"), rows)
    of_category = [(_text(each["category"]), *_percent(each)) for each in result["categories"][:MAX_ROWS]]
    table(("category", "before", "after"), of_category)
    table(("price", "before", "after"), [(_band(each["price"]), *_percent(each)) for each in result["prices"]])
    examples = [(each["user_id"], _ids(each["items_before"]), _ids(each["items_after"])) for each in result["examples"]]
    if examples:
        table(("user", "items before", "items after"), examples)


def _both(counts: Mapping[str, int]) -> tuple[int, int]:
    return counts["before"], counts["after"]


def _percent(shares: Mapping[str, Any]) -> tuple[str, str]:
    return f"{shares['before']:.1%}", f"{shares['after']:.1%}"


def _text(category: str | None) -> str:
    return "(none)" if category is None else category


def _band(band: Mapping[str, float] | None) -> str:
    if band is None:
        return "(none)"
    low, high = band.get("gte"), band.get("lt")
    return f"{'' if low is None else format(low, 'g')} .. {'' if high is None else format(high, 'g')}".strip()


def _ids(item_ids: list[str] | None) -> str:
    return "refused" if item_ids is None else " ".join(item_ids) or "empty"


def add_dry_run(group: typer.Typer, kind: Kind, plural: str) -> None:
    text = (
        f"Show what the {plural} of a YAML file would change.\n\n"
        "Answers the newest requests as things are stored, and with each document that differs.\n\n"
        f"Nothing is stored.\n\nExample: `nearfield {plural} dry-run {plural}.yaml --n 200`"
    )
    if kind == "placement":

        @group.command(name="dry-run", help=text)
        def placements(file: File, n: N = 200, space: SpaceName = "default", json: Json = False) -> None:
            run(kind, plural, file, space, n, None, json)

    else:

        @group.command(name="dry-run", help=text)
        def rules(
            file: File, n: N = 200, placement: OfPlacement = None, space: SpaceName = "default", json: Json = False
        ) -> None:
            run(kind, plural, file, space, n, placement, json)
