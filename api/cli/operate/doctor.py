"""nearfield doctor: is everything that nearfield needs in order?"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from api.cli.terminal.options import Json, settings
from api.cli.terminal.output import emit, out, table
from engine.errors import NearfieldError
from engine.settings import Settings
from engine.store.database.connections import open_database
from engine.store.doctor import checks, id_normalisation
from indexing.building.doctor_checks import check_disk, check_faiss, check_generations, check_loops


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    mend_ids: Annotated[
        bool,
        typer.Option(
            "--mend-ids",
            help="Give every stored user and item id its normal form (NFC, no white space around it) and merge those "
            "that become equal.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Check the database, pgvector, FAISS, index files and the disk.

    Compiles the search loops if they are not compiled yet, so that no server has to, and verifies the checksums of
    every generation. Exit code 1 if anything is wrong.

    Example: `nearfield doctor`
    """
    found = settings()
    n_mended = _mend_ids(found) if mend_ids else None
    results = [check_faiss(), check_loops(), check_disk(found.home)]
    try:
        with open_database(found) as database:
            results += checks.check_database(database) + check_generations(database, found.generations)
    except NearfieldError as error:
        results.append(("database", False, str(error)))
    ok = all(is_good for _, is_good, _ in results)
    body: dict[str, Any] = {
        "ok": ok,
        "checks": [{"name": name, "ok": is_good, "detail": detail} for name, is_good, detail in results],
    }
    if n_mended is not None:
        body["ids_mended"] = n_mended

    def show() -> None:
        rows = [(name, "ok" if is_good else "WRONG", detail) for name, is_good, detail in results]
        table(("check", "", "detail"), rows)
        out.print("all is well" if ok else "something is wrong")
        if n_mended:
            out.print(f"{n_mended:,} ids have their normal form now; run `nearfield reindex` for each space")

    emit(json, body, show)
    if not ok:
        sys.exit(1)


def _mend_ids(found: Settings) -> int:
    """Gives every id its normal form; the number of ids that changed."""
    with open_database(found) as database, database.begin() as conn:
        return sum(id_normalisation.normalise(conn, each) for each in id_normalisation.find_unnormalised(conn))
