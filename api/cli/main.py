"""nearfield: the command line. Every error is one sentence; exit code 2 for wrong input, 1 for any other error."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup

from api.cli.learn import embedders, evaluate, reindex, train, tune, weights
from api.cli.merchandising import preset_commands
from api.cli.operate import doctor, generations, keys, migrate, models, status
from api.cli.records import anomalies, compress, drift, encode, export, interpolate, kpis, map, sample
from api.cli.serve import index, publish, serve
from api.cli.shop import demo, import_catalogue, recommend, users
from api.cli.terminal.output import err
from api.logs import configure_logging
from engine.errors import InputError, NearfieldError

GROUPS = {  # the panels of `--help` with their commands, in this order
    "Shop": ("demo", "import", "recommend", "search", "users"),
    "Merchandise": ("placements", "pages", "rules", "segments"),
    "Learn": ("reindex", "train", "evaluate", "tune", "weights", "embedders"),
    "Serve": ("serve", "index", "publish", "rollback"),
    "Records": (
        *("encode", "decode", "reconstruct", "anomalies", "interpolate", "sample"),
        *("kpis", "drift", "compress", "map", "export"),
    ),
    "Operate": ("status", "models", "generations", "doctor", "migrate", "keys"),
}
MODULES = (
    *(demo, import_catalogue, recommend, users, preset_commands),
    *(reindex, train, evaluate, tune, weights, embedders),
    *(serve, index, publish),
    *(encode, anomalies, interpolate, sample, kpis, drift, compress, map, export),
    *(status, models, generations, doctor, migrate, keys),
)


class OrderedGroup(TyperGroup):
    """Lists the commands in the order of GROUPS."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for names in GROUPS.values() for name in names]


app = typer.Typer(
    cls=OrderedGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""Vector search and recommendation engine for storefronts.

    First steps: import events, reindex, recommend, serve. Data is in the folder NEARFIELD_HOME (default: .nearfield).
    `nearfield COMMAND --help` shows options and an example.
    """,
)
for module in MODULES:
    module.add_to(app)
PANEL_OF = {name: panel for panel, names in GROUPS.items() for name in names}
for command in app.registered_commands:
    command.rich_help_panel = PANEL_OF[str(command.name or getattr(command.callback, "__name__", None))]
for group in app.registered_groups:
    group.rich_help_panel = PANEL_OF[str(group.name)]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the database is closed
    configure_logging()
    try:
        sys.exit(_run())
    except typer.Abort:  # Ctrl-C
        _fail("stopped; no change is half done", 130)
    except typer.TyperException as error:  # an unknown command, option or value
        if error.format_message():  # empty after `nearfield` without a command, which has printed the help
            _fail(error.format_message(), error.exit_code)
        sys.exit(error.exit_code)
    except NearfieldError as error:
        _fail(str(error), 2 if isinstance(error, InputError) else 1)
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except Exception as error:
        if os.environ.get("NEARFIELD_DEBUG"):
            raise
        _fail(f"{type(error).__name__}: {error} (NEARFIELD_DEBUG=1 shows the traceback)", 1)


def _run() -> Any:
    """Runs the command. Under torchrun, the first process runs it and the others share its training."""
    command = partial(app, standalone_mode=False)
    if "MASTER_ADDR" not in os.environ:
        return command()
    from engine.embedders.training import data_parallel

    return data_parallel.run_with_followers(command)


def _fail(message: str, code: int) -> None:
    line = message.strip().split("\n", 1)[0]  # the cause; a database error adds its statement on further lines
    err.print(f"error: {line}", style="red", markup=False, soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
