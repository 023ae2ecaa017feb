"""nearfield placements|rules|segments dry-run: what a YAML file would change, in all and by each document."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.merchandising.dry_run_tables import tell_segment, tell_shelves
from api.cli.merchandising.file_changes import changes_of, place_of, statuses, stored_documents
from api.cli.merchandising.yaml_documents import Documents, read
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out
from engine.errors import Conflict, InputError, NotFound
from engine.settings import Settings
from engine.store.database.connections import Database
from engine.store.shelves import presets

if TYPE_CHECKING:
    from api.routes.merchandising.preset_changes import Change
    from indexing.live.view import LiveView

Results = dict[str, dict[str, dict[str, Any]]]  # by kind and name
File = Annotated[Path, typer.Argument(help="A YAML file, as `export` writes it.", show_default=False)]
N = Annotated[int, typer.Option("--n", min=1, max=1000, help="The newest stored requests that are answered again.")]
OfPlacement = Annotated[
    str | None, typer.Option("--placement", help="Only requests of this placement.", show_default=False)
]
CategoryField = Annotated[
    str, typer.Option("--category-field", help="The field whose values are shown as categories.", show_default=True)
]
BandField = Annotated[
    str, typer.Option("--band-field", help="The field of numbers that is shown in bands.", show_default=True)
]
Bands = Annotated[int, typer.Option("--bands", min=1, max=20, help="The number of bands; each holds as many items.")]


def run(plural: str, file: Path, space: str, options: Mapping[str, Any], json: bool) -> None:
    from api.messages.merchandising.preset_schemas import ChangesDryRunBody  # a second to load
    from api.routes.merchandising import preset_changes
    from api.routes.merchandising.changes import tried_together
    from indexing.refresh.live_space import LiveSpace

    wanted = read(file, plural)
    with opened(space) as (settings, database, found):
        view = LiveSpace(database, settings.generations, found.name).current()
        with database.connect() as conn:
            stored = stored_documents(conn, found.key)
            current = presets.list_current(conn, found.key)
        of_file = statuses(stored, wanted, prune=False)
        changes = changes_of(of_file, wanted)
        try:
            preset_changes.checked(changes, current, (view, settings.keep_shelves_days))
        except (InputError, Conflict) as error:
            raise type(error)(place_of(error)) from None
        results: Results = {kind: {} for kind in wanted if kind != "pages"}
        for change in changes:
            if change.kind.kind == "segment":
                beside = wanted["segments"]
                results["segments"][change.name] = _segment(change, view, database, stored["segments"], beside)
            elif change.kind.kind != "page":
                results[change.kind.plural][change.name] = _shelves(change, view, settings, database, options)
        together = None
        if len(changes) > 1 or any(each.kind.kind == "segment" for each in changes):
            together = tried_together(changes, ChangesDryRunBody(**options), view, settings, database)
    unchanged = sorted(name for each in of_file.values() for name, status in each.items() if status == "unchanged")
    pages = [each.name for each in changes if each.kind.kind == "page"]
    body = {**results, "together": together, "unchanged": unchanged, "pages_not_tried": pages}
    emit(json, body, lambda: _tell(results, together, unchanged, pages, options))


def _shelves(
    change: Change, view: LiveView, settings: Settings, database: Database, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The result of one change by itself, or why only all changes together can be stored."""
    from api.messages.merchandising.preset_schemas import ShelfDryRunBody
    from api.routes.merchandising.dry_runs import tried

    placement = options.get("placement") if change.kind.kind == "rule" else None
    asked = ShelfDryRunBody(document=change.document, **{k: v for k, v in options.items() if k != "placement"})
    try:
        return tried(change.kind, change.name, asked, view, settings, database, placement=placement)
    except InputError as error:
        if error.problems and error.problems[0].loc[:2] != ("body", "document"):  # an option
            raise
        return {"only_together": str(error)}
    except (NotFound, Conflict) as error:
        return {"only_together": str(error)}


def _segment(
    change: Change, view: LiveView, database: Database, stored: Documents, beside: Documents
) -> dict[str, Any]:
    """The members before, and after all changes of segments."""
    from indexing.live.segment_changes import segment_change

    now_us, document = time.time_ns() // 1000, change.document or {}
    with database.connect() as conn:
        found = segment_change(view, conn, change.name, document, stored, now_us=now_us, beside=beside)
    return found.to_json()


def _tell(
    results: Results,
    together: Mapping[str, Any] | None,
    unchanged: Sequence[str],
    pages: Sequence[str],
    options: Mapping[str, Any],
) -> None:
    fields = options.get("category_field", "category"), options.get("band_field", "price")
    n_tried = sum(map(len, results.values()))
    if together is not None:
        tell_shelves("all changes together" if n_tried > 1 else "shelves", together, fields)
    for plural, of_kind in results.items():
        for name, result in of_kind.items():
            if "only_together" in result:
                out.print(f"{name}: only together with the others: {result['only_together']}", markup=False)
            elif plural == "segments":
                tell_segment(name, result)
            else:
                tell_shelves(name, result, fields)
    if pages:
        out.print(f"pages are not tried, because requests are kept by shelf: {', '.join(pages)}", markup=False)
    out.print(f"{n_tried} tried, {len(unchanged)} unchanged; nothing was stored")


def add_dry_run(group: typer.Typer, plural: str) -> None:
    text = (
        f"Show what the {plural} of a YAML file would change.\n\n"
        "Answers the newest requests as things are stored, with all documents that differ, and with each. A file may "
        "have placements, rules and segments.\n\n"
        f"Nothing is stored.\n\nExample: `nearfield {plural} dry-run {plural}.yaml --n 200`"
    )

    @group.command(name="dry-run", help=text)
    def dry_run(
        file: File,
        n: N = 200,
        placement: OfPlacement = None,
        category_field: CategoryField = "categories",
        band_field: BandField = "price",
        bands: Bands = 5,
        space: SpaceName = "default",
        json: Json = False,
    ) -> None:
        options: dict[str, Any] = {"n": n, "n_bands": bands}
        if placement is not None:
            options["placement"] = placement
        if category_field != "categories":
            options["category_field"] = category_field
        if band_field != "price":  # a shop without prices has no bands, but a field that is named must exist
            options["band_field"] = band_field
        run(plural, file, space, options, json)
